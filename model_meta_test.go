package rolebus

import (
	"testing"
	"testing/synctest"
)

// A rewrite with other metadata whose acknowledgement was lost, and then the metadata of before is wanted again: it must be written.
func TestModelARewriteThatMayBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "b", WithObserver())
		o, err := newOptions([]Option{WithNode("a"), WithTTL(fakeTTL), WithMeta(map[string]string{"v": "1"})})
		if err != nil {
			t.Fatal(err)
		}
		link := f.link()
		a := newBus(o, newNoise(o.log), link)
		m := a.begin(a.Scope, []Role{"x"})
		k := m.keeper
		if err := k.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := func(v string) {
			if _, err := a.dress(map[string]string{"v": v}); err != nil {
				t.Fatal(err)
			}
		}
		want("2")
		link.deaf = true
		if k.rewrite(t.Context(), k.generation, true) == nil {
			t.Fatal("acknowledged")
		}
		link.deaf = false
		want("1")
		if err := k.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := k.update(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.Snapshot().named.get("a").Meta("v"); got != "1" {
			t.Fatalf("shown is %q, wanted 1", got)
		}
	})
}
