package nats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// shelf is what somebody who follows knows.
type shelf struct {
	mu     sync.Mutex
	all    map[string]rolebus.Entry
	wholes int
	heard  []rolebus.Entry
	wrong  error
}

func followed(t *testing.T, e *rolebus.Entries) *shelf {
	t.Helper()
	f := &shelf{all: map[string]rolebus.Entry{}}
	stop, err := e.Follow(f.hear)
	require.NoError(t, err)
	t.Cleanup(stop)
	return f
}

func (f *shelf) hear(news rolebus.EntryNews) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if news.Whole {
		f.wholes++
		clear(f.all)
	}
	last := uint64(0)
	for _, e := range news.Entries {
		if e.Generation <= last || !news.Whole && e.Generation <= f.all[e.Name].Generation {
			f.wrong = fmt.Errorf("%v after %d, %v", e, last, f.all[e.Name])
		}
		last = e.Generation
		f.all[e.Name] = e
		f.heard = append(f.heard, e)
	}
}

func (f *shelf) knows() map[string]rolebus.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.all)
}

// whole returns how often all was told.
func (f *shelf) whole() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wholes
}

// has waits until a name is known with a value.
func (f *shelf) has(t *testing.T, name, value string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q to be %s", name, value), func() bool {
		e, is := f.knows()[name]
		return is && !e.Removed && e.Value == value
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	require.NoError(t, f.wrong)
}

func (f *shelf) lacks(t *testing.T, name string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q to be gone", name), func() bool {
		_, is := f.knows()[name]
		return !is && f.whole() > 0
	})
}

// ignoring counts what is ignored.
type ignoring struct{ atomic.Int64 }

func (i *ignoring) OnIgnored(rolebus.IgnoredInfo) { i.Add(1) }

func put(t *testing.T, e *rolebus.Entries, name, value string, replaces uint64) uint64 {
	t.Helper()
	generation, err := e.Put(t.Context(), name, value, replaces)
	require.NoError(t, err)
	require.Greater(t, generation, replaces)
	return generation
}

func TestEntriesArePutReplacedRemovedAndFollowed(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a", rolebus.WithRoles("x")), bus(srv, "b", rolebus.WithRoles("x"))
	mine, theirs := a.Entries("claim"), b.Entries("claim")
	none, err := mine.Get(t.Context(), "leader")
	require.NoError(t, err)
	require.Equal(t, rolebus.Entry{Name: "leader"}, none)
	f := followed(t, theirs)
	eventually(t, "that there is nothing", func() bool { return f.whole() == 1 })
	first := put(t, mine, "leader", `{"node": "a", "text": "é\n"}`, 0)
	f.has(t, "leader", `{"node":"a","text":"é\n"}`)
	_, err = theirs.Put(t.Context(), "leader", `{"node":"b"}`, 0)
	require.ErrorIs(t, err, rolebus.ErrConflict)
	require.NotErrorIs(t, err, rolebus.ErrNotConfirmed)
	require.ErrorContains(t, err, `put claim "leader" in scope "default"`)
	second := put(t, theirs, "leader", `{"node":"b"}`, first)
	f.has(t, "leader", `{"node":"b"}`)
	_, err = mine.Remove(t.Context(), "leader", "", first)
	require.ErrorIs(t, err, rolebus.ErrConflict)
	third, err := theirs.Remove(t.Context(), "leader", `"done"`, second)
	require.NoError(t, err)
	eventually(t, "the end", func() bool { return f.knows()["leader"].Removed })
	e, err := mine.Get(t.Context(), "leader")
	require.NoError(t, err)
	require.Equal(t, rolebus.Entry{Name: "leader", Generation: third, Value: `"done"`, Removed: true, Stored: e.Stored}, e)
	require.Equal(t, e.Generation, f.knows()["leader"].Generation)
	require.True(t, e.Stored.Equal(f.knows()["leader"].Stored))
	now, err := a.ServerTime(t.Context())
	require.NoError(t, err)
	require.False(t, now.Before(e.Stored), "it is never earlier than the server's")
	fourth := put(t, mine, "leader", `4`, third)
	f.has(t, "leader", `4`)
	_, err = mine.Remove(t.Context(), "leader", "", fourth)
	require.NoError(t, err)
	eventually(t, "the end", func() bool { return f.knows()["leader"].Removed })
	require.Empty(t, f.knows()["leader"].Value)
	require.Equal(t, 1, f.whole(), "nothing was missed")

	// What there is: for who comes later, from the one copy, and for another process.
	put(t, mine, "other", `1`, 0)
	f.has(t, "other", `1`)
	for _, again := range []*shelf{followed(t, theirs), followed(t, mine)} {
		again.has(t, "other", `1`)
		require.Equal(t, f.knows(), again.knows())
	}
	require.Equal(t, "rolebus.claim.default.a=2Eb", a.Subject("claim", "a.b"))
	for _, kind := range []string{"", "a.b", "*", "lease", "ä"} {
		require.Panics(t, func() { a.Entries(kind) })
		require.Panics(t, func() { a.Subject(kind, "n") })
	}
}

func TestEntriesThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithRoles("x"))
	observer := bus(srv, "o", rolebus.WithObserver())
	e := a.Entries("claim")
	ctx := t.Context()
	for name, tc := range map[string]struct {
		entries     *rolebus.Entries
		name, value string
		is          error
	}{
		"an observer":          {observer.Entries("claim"), "n", "1", rolebus.ErrReadOnly},
		"not joined":           {a.In("other").Entries("claim"), "n", "1", rolebus.ErrNotJoined},
		"no name":              {e, "", "1", rolebus.ErrBadName},
		"a long name":          {e, strings.Repeat("n", 201), "1", rolebus.ErrBadName},
		"no UTF-8":             {e, "\xff", "1", rolebus.ErrBadName},
		"a scope that is none": {a.In("").Entries("claim"), "n", "1", rolebus.ErrBadName},
		"a large value":        {e, "n", `"` + strings.Repeat("v", 8<<10) + `"`, rolebus.ErrTooLarge},
		"no JSON":              {e, "n", `{`, nil},
		"two":                  {e, "n", `1 2`, nil},
		"no UTF-8 in it":       {e, "n", "\"\xff\"", nil},
		"half a surrogate":     {e, "n", `"\ud800"`, nil},
	} {
		for op, write := range map[string]func(context.Context, string, string, uint64) (uint64, error){"put": tc.entries.Put, "remove": tc.entries.Remove} {
			_, err := write(ctx, tc.name, tc.value, 0)
			require.Error(t, err, name, op)
			require.NotErrorIs(t, err, rolebus.ErrNotConfirmed)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is, name, op)
			}
		}
	}
	_, err := e.Put(ctx, "n", "", 0)
	require.Error(t, err)
	put(t, e, "n", `"`+strings.Repeat("v", 8<<10-2)+`"`, 0)
	got, err := observer.Entries("claim").Get(ctx, "n")
	require.NoError(t, err)
	require.Len(t, got.Value, 8<<10)
	followed(t, observer.Entries("claim")).has(t, "n", got.Value)
	_, err = a.In("other").Entries("claim").Get(ctx, "n")
	require.NoError(t, err, "to read, no scope need be joined")
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = e.Put(over, "m", "1", 0)
	require.ErrorIs(t, err, context.Canceled)
	require.Panics(t, func() { _, _ = e.Follow(nil) })
	_, err = new(rolebus.Entries).Get(ctx, "n")
	require.Error(t, err)
	stop, err := e.Follow(func(rolebus.EntryNews) {})
	require.NoError(t, err)
	require.NoError(t, a.Close())
	stop()
	_, err = e.Put(ctx, "n", "1", 0)
	require.ErrorIs(t, err, rolebus.ErrClosed)
	_, err = e.Get(ctx, "n")
	require.ErrorIs(t, err, rolebus.ErrClosed)
	_, err = e.Follow(func(rolebus.EntryNews) {})
	require.ErrorIs(t, err, rolebus.ErrClosed)
	_, _, err = a.Standing(ctx, "a")
	require.ErrorIs(t, err, rolebus.ErrClosed)
	_, err = a.ServerTime(ctx)
	require.ErrorIs(t, err, rolebus.ErrClosed)
}

// Names are anything that is text, and each is another one.
func TestNamesOfEntries(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithDefaultScope("größe.*>"))
	e, want := a.Entries("claim"), map[string]string{}
	f := followed(t, a.Entries("claim"))
	for i, name := range []string{
		"a", "A", "a.b", "a.*", ">", "*", "a b", "worker/64/7", "=", "=41", "größe", "\n", "\x00", "\"", `\`, "$KV", "😀", strings.Repeat("x", 200), strings.Repeat(".", 66),
	} {
		want[name] = fmt.Sprint(i)
		put(t, e, name, want[name], 0)
		got, err := e.Get(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want[name], got.Value)
	}
	late := bus(srv, "b", rolebus.WithObserver(), rolebus.WithDefaultScope("größe.*>"))
	for name, value := range want {
		f.has(t, name, value)
	}
	g := followed(t, late.Entries("claim"))
	for name, value := range want {
		g.has(t, name, value)
	}
	require.Len(t, g.knows(), len(want))
	require.Empty(t, followed(t, a.Entries("seat")).knows())
}

// Of those who write at the same time exactly one does.
func TestOneOfManyReplacesAnEntry(t *testing.T) {
	t.Parallel()
	cluster := rolebustest.NewCluster(t)
	var all []*rolebus.Bus
	for i := range 6 {
		all = append(all, bus(cluster.Servers()[i%3], fmt.Sprint("n", i), rolebus.WithRoles("x")))
	}
	stands := uint64(0)
	for round := range 20 {
		var racing sync.WaitGroup
		won := make(chan uint64, len(all))
		for i, b := range all {
			racing.Go(func() {
				switch generation, err := b.Entries("claim").Put(t.Context(), "leader", fmt.Sprintf("[%d,%d]", round, i), stands); {
				case err == nil:
					won <- generation
				case !errors.Is(err, rolebus.ErrConflict):
					t.Error(err)
				}
			})
		}
		racing.Wait()
		close(won)
		require.Len(t, won, 1)
		stands = <-won
		got, err := all[round%len(all)].Entries("claim").Get(t.Context(), "leader")
		require.NoError(t, err)
		require.Equal(t, stands, got.Generation)
	}
}

// What somebody else does to the bucket is found: announced or not, readable or not.
func TestEntriesThatOthersHarmed(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var ignored ignoring
	w := bus(srv, "w", rolebus.WithRoles("x"), rolebus.WithHooks(&ignored))
	a := bus(srv, "a", rolebus.WithAllScopes(), rolebus.WithObserver(), rolebus.WithSyncInterval(100*time.Millisecond), rolebus.WithHooks(&ignored))
	e := w.Entries("claim")
	f := followed(t, a.In("default").Entries("claim"))
	for _, name := range []string{"purged", "marked", "deleted", "garbage", "kept"} {
		put(t, e, name, "1", 0)
	}
	f.has(t, "kept", "1")
	nc := srv.Conn()
	js := jetStream(t, nc)
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.rolebus.default.claim.purged")))
	f.lacks(t, "purged")
	kv, err := js.KeyValue(t.Context(), "rolebus")
	require.NoError(t, err)
	require.NoError(t, kv.Purge(t.Context(), "default.claim.marked"))
	require.NoError(t, kv.Delete(t.Context(), "default.claim.deleted"))
	for _, name := range []string{"marked", "deleted"} {
		eventually(t, name, func() bool { return f.knows()[name].Removed })
		require.Empty(t, f.knows()[name].Value)
	}
	require.Zero(t, ignored.Load(), "that is no noise")
	generation, err := kv.Put(t.Context(), "default.claim.garbage", []byte("hello"))
	require.NoError(t, err)
	eventually(t, "garbage", func() bool { return f.knows()["garbage"].Generation == generation })
	require.Empty(t, f.knows()["garbage"].Value)
	require.False(t, f.knows()["garbage"].Removed)
	eventually(t, "noise", func() bool { return ignored.Load() > 0 })
	got, err := e.Get(t.Context(), "garbage")
	require.NoError(t, err)
	require.Equal(t, generation, got.Generation)
	require.Empty(t, got.Value)
	put(t, e, "garbage", "2", generation)
	f.has(t, "garbage", "2")
	f.has(t, "kept", "1")

	// Nobody else takes entries for something of his own.
	before := ignored.Load()
	scopes, err := a.AllScopes(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"default"}, scopes)
	require.Equal(t, []string{"default"}, a.Scopes())
	require.NoError(t, a.Close()) // hooks have been told all
	require.Equal(t, before, ignored.Load())
}

// A bucket that is gone and made anew has nothing, and what is put there then is heard.
func TestEntriesOfABucketThatIsMadeAnew(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a", rolebus.WithRoles("x")), bus(srv, "b", rolebus.WithRoles("x"))
	f := followed(t, a.Entries("claim"))
	for i := range 50 {
		put(t, b.Entries("claim"), fmt.Sprint("old", i), "1", 0)
	}
	f.has(t, "old49", "1")
	js := jetStream(t, srv.Conn())
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	eventually(t, "another bucket", func() bool {
		_, err := b.Entries("claim").Put(t.Context(), "new", "2", 0)
		return err == nil
	})
	require.Less(t, b.Settled(), time.Minute)
	f.has(t, "new", "2")
	f.lacks(t, "old49")
	require.Len(t, f.knows(), 1)
}

func TestEntriesOutliveARestartAndABreak(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a, b := bus(link, "a", rolebus.WithRoles("x")), bus(srv, "b", rolebus.WithRoles("x"))
	f := followed(t, a.Entries("claim"))
	for i := range 2000 {
		put(t, b.Entries("claim"), fmt.Sprint("n", i), "1", 0)
	}
	f.has(t, "n1999", "1")
	late := followed(t, bus(srv, "late", rolebus.WithObserver()).Entries("claim"))
	late.has(t, "n1999", "1")
	require.Len(t, late.knows(), 2000)
	link.Cut()
	eventually(t, "the end of the connection", func() bool { return !a.Connected() })
	_, err := a.Entries("claim").Put(t.Context(), "n", "1", 0)
	require.ErrorIs(t, err, nats.ErrDisconnected)
	require.NotErrorIs(t, err, rolebus.ErrNotConfirmed, "it was not sent")
	_, _, err = a.Standing(t.Context(), "b")
	require.ErrorIs(t, err, nats.ErrDisconnected)
	require.Zero(t, a.Settled())
	put(t, b.Entries("claim"), "meanwhile", "2", 0)
	link.Mend()
	f.has(t, "meanwhile", "2")
	srv.Restart()
	eventually(t, "the bucket", func() bool {
		_, err := b.Entries("claim").Put(t.Context(), "after", "3", 0)
		return err == nil || errors.Is(err, rolebus.ErrConflict)
	})
	f.has(t, "after", "3")
	require.Len(t, f.knows(), 2002)
}

// Announcements of another bucket are none of this one's.
func TestEntriesOfAnotherFleet(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log := &logged{}
	a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	f := followed(t, a.Entries("claim"))
	generation := put(t, a.Entries("claim"), "leader", `"mine"`, 0)
	f.has(t, "leader", `"mine"`)
	nc := srv.Conn()
	msg := nats.NewMsg("rolebus.changes.default.claim.leader")
	for name, value := range map[string]string{
		"Nats-Stream": "KV_rolebus", "Nats-Subject": "$KV.rolebus.default.claim.leader", "Nats-Sequence": fmt.Sprint(generation + 1000),
		"Nats-Last-Sequence": "0", "Nats-Time-Stamp": time.Now().UTC().Format(time.RFC3339Nano),
		"Rolebus": `{"format":1,"fleet":"OTHER","value":"theirs"}`,
	} {
		msg.Header.Set(name, value)
	}
	require.NoError(t, nc.PublishMsg(msg))
	eventually(t, "it to be heard", func() bool { return log.count("another bucket of the same name") > 0 })
	put(t, a.Entries("claim"), "leader", `"mine again"`, generation)
	f.has(t, "leader", `"mine again"`)
	for _, e := range f.heard {
		require.NotContains(t, e.Value, "theirs")
	}
}

// The last who stops takes all away.
func TestWhoFollowsLeavesNothing(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithRoles("x"))
	subscribed := func() int { return a.Conn().NumSubscriptions() }
	before := subscribed()
	for range 20 {
		var stops []func()
		for range 3 {
			heard := make(chan rolebus.EntryNews, 100)
			stop, err := a.Entries("claim").Follow(func(news rolebus.EntryNews) { heard <- news })
			require.NoError(t, err)
			stops = append(stops, stop)
			require.True(t, (<-heard).Whole)
		}
		require.Equal(t, before+1, subscribed(), "they share one")
		for _, stop := range stops {
			stop()
			stop()
		}
		eventually(t, "its end", func() bool { return subscribed() == before })
	}
	// Within the function, too; and none is called after it.
	calls := make(chan bool, 10)
	var stop func()
	ready := make(chan bool)
	stop, err := a.Entries("claim").Follow(func(rolebus.EntryNews) {
		<-ready
		stop()
		calls <- true
	})
	require.NoError(t, err)
	close(ready)
	<-calls
	put(t, a.Entries("claim"), "n", "1", 0)
	eventually(t, "its end", func() bool { return subscribed() == before })
	require.Empty(t, calls)
}

// What is said of lives.
func TestLivesThatGoOnAndThatEnded(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a", rolebus.WithRoles("x")), bus(srv, "b", rolebus.WithRoles("x"))
	link := srv.Link()
	c := bus(link, "c", rolebus.WithRoles("x"))
	rolebustest.WaitNodes(t, a, "x", 3)
	lives := map[string]uint64{"b": b.Incarnation(), "c": c.Incarnation()}
	for node, incarnation := range lives {
		stands, heard, err := a.Standing(t.Context(), node)
		require.NoError(t, err)
		require.Equal(t, incarnation, stands)
		eventually(t, "a heartbeat", func() bool {
			_, later, err := a.Standing(t.Context(), node)
			require.NoError(t, err)
			return later > heard
		})
		require.True(t, a.Snapshot().Lives(node, incarnation))
		require.False(t, a.Snapshot().Lives(node, incarnation+1))
		_, buried := a.Snapshot().Buried(node, incarnation)
		require.False(t, buried)
	}
	require.Positive(t, a.Settled())
	require.Zero(t, a.In("other").Settled())
	nobody, never, err := a.Standing(t.Context(), "nobody")
	require.NoError(t, err)
	require.Zero(t, nobody)
	require.Zero(t, never)
	require.NoError(t, b.Close())
	link.Cut()
	for node, incarnation := range lives {
		eventually(t, "the end of "+node, func() bool {
			generation, is := a.Snapshot().Buried(node, incarnation)
			return is && generation > 0
		})
		require.False(t, a.Snapshot().Lives(node, incarnation))
		_, other := a.Snapshot().Buried(node, incarnation-1)
		require.False(t, other)
		stands, heard, err := a.Standing(t.Context(), node)
		require.NoError(t, err)
		require.Zero(t, stands)
		require.Zero(t, heard)
	}
	// Who comes later knows of the goodbye only.
	late := bus(srv, "late", rolebus.WithObserver())
	_, left := late.Snapshot().Buried("b", lives["b"])
	require.True(t, left)
	_, expired := late.Snapshot().Buried("c", lives["c"])
	require.False(t, expired)
}

// The form in which an entry stands is what docs/PROTOCOL.md says.
func TestTheFormOfAnEntry(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithRoles("x"))
	generation := put(t, a.Entries("claim"), "leader", `{"node":"a"}`, 0)
	js := jetStream(t, srv.Conn())
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	msg, err := stream.GetMsg(t.Context(), generation)
	require.NoError(t, err)
	require.Equal(t, "$KV.rolebus.default.claim.leader", msg.Subject)
	require.Equal(t, `{"format":1,"scope":"default","kind":"claim","name":"leader","value":{"node":"a"}}`, string(msg.Data))
	fleet := stream.CachedInfo().Config.Metadata["rolebus.fleet"]
	require.Equal(t, fmt.Sprintf(`{"format":1,"fleet":%q,"value":{"node":"a"}}`, fleet), msg.Header.Get("Rolebus"))
	generation, err = a.Entries("claim").Remove(t.Context(), "leader", "", generation)
	require.NoError(t, err)
	msg, err = stream.GetMsg(t.Context(), generation)
	require.NoError(t, err)
	require.Equal(t, "DEL", msg.Header.Get("KV-Operation"))
	require.Equal(t, "1h", msg.Header.Get("Nats-TTL"))
	require.True(t, json.Valid(msg.Data))
	require.Equal(t, fmt.Sprintf(`{"format":1,"fleet":%q}`, fleet), msg.Header.Get("Rolebus"))
}
