package rolebus

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// leaderDies is a leader that stores a change and dies: neither the announcement nor the answer gets out.
func leaderDies(w *fleet) {
	w.staff(2)
	for range 1 + w.rng.IntN(2) {
		p := w.somebody()
		w.sleep(w.between(0, modelTTL/3))
		w.fault("the leader dies when it has stored the next change of %s", p.label())
		w.fakeBucket.mu.Lock()
		w.mute, p.link.deaf = true, true
		w.fakeBucket.mu.Unlock()
		roles := anyOf(w.rng, []Role{"p"}, []Role{"q"}, []Role{"r"})
		p.want(append(roles, w.someRoles()...)...)
		w.sleep(time.Millisecond)
		w.fakeBucket.mu.Lock()
		w.mute, p.link.deaf = false, false
		w.fakeBucket.mu.Unlock()
		w.fault("there is a new leader")
		w.expectSeen(p, beatAtMost)
		w.sleep(beatAtMost + time.Second)
	}
}

// expectSeen demands that everybody shows what a process wants, or wanted later, within a time.
func (w *fleet) expectSeen(p *process, within time.Duration) {
	for _, q := range w.running(true) {
		w.expect(expectation{invariant: missedIsFound, of: q, unmet: func() string {
			var got wanted
			if n := q.Snapshot().named.get(p.Name()); n != nil {
				got = n.shown()
			}
			if !got.equal(p.wanted()) {
				return fmt.Sprintf("%s shows %s as %v, which wants %v", q.label(), p.label(), got, p.wanted())
			}
			return ""
		}}, within)
	}
}

func lostAnnouncements(w *fleet) {
	w.staff(2)
	for range 1 + w.rng.IntN(2) {
		q := anyOf(w.rng, w.running(true)...)
		q.disturb("hears nothing")
		w.setLoss(q, true)
		p := w.somebody()
		for p == q {
			p = w.somebody()
		}
		for range 1 + w.rng.IntN(3) {
			p.wantSome()
			w.sleep(10 * time.Millisecond)
		}
		p.want("lost")
		w.sleep(10 * time.Millisecond)
		syncs := 1
		if w.variant(2) == 0 { // something else is heard, and hides what is missing
			syncs = newerEvery
			w.setLoss(q, false)
			w.start("d").leave()
		}
		q.disturb("misses only what was announced so far")
		w.setLoss(q, false)
		w.expectSeen(p, time.Duration(syncs)*w.sync+2*time.Second)
		w.sleep(time.Duration(syncs)*w.sync + 3*time.Second)
		p.want("found")
		w.sleep(time.Second)
	}
}

// unheardReset is a bucket that is made anew while a process hears nothing: its count begins again. It may be put back to a copy of
// its beginning instead, which has the identity that it had.
func unheardReset(w *fleet) {
	all := w.staff(2)
	w.calm()
	p := anyOf(w.rng, all...)
	for _, q := range w.running(true) {
		w.setLoss(q, q != p)
	}
	w.fakeBucket.mu.Lock()
	fleet := w.fakeBucket.fleet
	w.fakeBucket.mu.Unlock()
	w.tear("the bucket is made anew, and few hear what is written")
	w.wipe(true)
	if w.variant(2) == 0 {
		w.tell("it has the identity of before")
		w.fakeBucket.mu.Lock()
		w.fakeBucket.fleet = fleet
		w.fakeBucket.mu.Unlock()
	}
	p.want("y", "z")
	w.expectSeen(p, beatAtMost+w.sync+2*time.Second)
	w.sleep(beatAtMost + w.sync + 3*time.Second)
}

// tornChange is a change that others hear, though its owner does not hear that it was stored, and the store forgets it.
// By then the owner wants to be something else.
func tornChange(w *fleet) {
	w.staff(2)
	for range 1 + w.rng.IntN(2) {
		p := w.somebody()
		w.sleep(w.between(0, modelTTL/3))
		copied := w.backup()
		w.fault("the next change of %s is announced and forgotten", p.label())
		w.setDeaf(p, true)
		p.want(append([]Role{"p"}, w.someRoles()...)...)
		w.sleep(time.Millisecond)
		w.setDeaf(p, false)
		w.restore(copied)
		p.want(append([]Role{"q"}, w.someRoles()...)...)
		w.expectSeen(p, beatAtMost+w.sync)
		w.sleep(beatAtMost + w.sync + time.Second)
	}
}

// Who wants to be again what it was, while others heard of what it was between.
func TestModelAChangeThatTheStoreForgotIsUnsaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		f.mu.Lock()
		before := maps.Clone(f.records)
		a.link.deaf = true
		f.mu.Unlock()
		a.wants("y")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Equal(t, []Role{"y"}, b.Roles("a").Slice())
		f.mu.Lock()
		f.records, a.link.deaf = before, false
		f.mu.Unlock()
		a.wants("x")
		time.Sleep(fakeTTL)
		synctest.Wait()
		require.Equal(t, []Role{"x"}, b.Roles("a").Slice())
	})
}

func (w *fleet) setDeaf(p *process, on bool) {
	w.fakeBucket.mu.Lock()
	defer w.fakeBucket.mu.Unlock()
	p.link.deaf = on
}
