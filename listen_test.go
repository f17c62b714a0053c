package rolebus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// asker asks each life of node a in scope s as soon as it hears of it, in an announcement or at the leader.
type asker struct {
	mu    sync.Mutex
	lives []uint64
	deaf  []uint64 // for which nobody listened
}

func newAsker(t *testing.T, url string, fleet *identity) *asker {
	t.Helper()
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	k, subj := &asker{}, subjects{bucket: "rolebus"}
	_, err = nc.Subscribe(subj.scopeChanges("s"), func(msg *nats.Msg) {
		_, c, err := decodeAnnouncement(subj, fleet.current(), readHeaders(msg.Header), msg.Subject)
		if err != nil || c.node != "a" || c.kind.isTombstone() {
			return
		}
		_, err = nc.Request(subj.address("call", "s", "a", c.id.incarnation, "m"), nil, time.Minute)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("life %d: %v", c.id.incarnation, err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.lives = append(k.lives, c.id.incarnation)
		if err != nil {
			k.deaf = append(k.deaf, c.id.incarnation)
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return k
}

// await waits until a life was asked, and says that each was heard.
func (k *asker) await(t *testing.T, life uint64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		k.mu.Lock()
		n, deaf := len(k.lives), k.deaf
		done := n > 0 && k.lives[n-1] == life
		k.mu.Unlock()
		require.Empty(t, deaf, "lives for which nobody listened")
		if done {
			return
		}
		require.True(t, time.Now().Before(deadline), "life %d was not announced", life)
	}
}

func reply(msg *nats.Msg) { _ = msg.Respond(nil) }

func TestEachLifeIsListenedForBeforeItIsAnnounced(t *testing.T) {
	url := realServer(t)
	a, err := Connect(t.Context(), url, WithNode("a"), WithTTL(minTTL))
	require.NoError(t, err)
	defer func() { _ = a.Close() }()
	s, k := a.In("s"), newAsker(t, url, a.fleet)
	_, err = s.Listen("call", "m", reply)
	require.NoError(t, err)
	for range 20 { // a join by a role, a join, a record that says more than the life before could be buried with
		require.NoError(t, s.AddRoles(t.Context(), "x"))
		k.await(t, s.Snapshot().Node("a").Incarnation())
		require.NoError(t, a.Leave(t.Context(), "s"))
		_, err = a.Join(t.Context(), "s")
		require.NoError(t, err)
		first := s.Snapshot().Node("a")
		k.await(t, first.Incarnation())
		// Somebody buries it beyond all versions: another life has room again.
		grave := change{kind: kindLeft, node: "a", id: life{first.Incarnation(), maxNumber}}
		require.NoError(t, a.store.bury(t.Context(), "s", grave, first.Generation()))
		_, err = s.Wait(t.Context(), func(snap *Snapshot) bool {
			n := snap.Node("a")
			return n != nil && n.Incarnation() > first.Incarnation()
		})
		require.NoError(t, err)
		k.await(t, s.Snapshot().Node("a").Incarnation())
		require.NoError(t, a.Leave(t.Context(), "s"))
	}
}

// A newer process of the name has another address, and the older one hears nothing any more.
func TestWhoIsSupersededIsNotListenedFor(t *testing.T) {
	url := realServer(t)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	older, err := New(t.Context(), nc, WithNode("a"), WithTTL(minTTL))
	require.NoError(t, err)
	_, err = older.Listen("call", "m", reply)
	require.NoError(t, err)
	first := older.Snapshot().Node("a")
	newer, err := Connect(t.Context(), url, WithNode("a"), WithTTL(minTTL))
	require.NoError(t, err)
	defer func() { _ = newer.Close() }()
	<-older.Done()
	require.ErrorIs(t, context.Cause(older.Context()), ErrSuperseded)
	require.Equal(t, 1, nc.NumSubscriptions(), "nats.go's own, for answers")
	require.NoError(t, nc.Flush())
	_, err = nc.Request(newer.Address("call", first, "m"), nil, time.Minute)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	_, err = older.Listen("call", "m", reply)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, err, ErrSuperseded)
}
