package exclusive_test

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func rank(of map[string]int) exclusive.Option {
	return exclusive.Prefer(func(n *rolebus.Node) int { return of[n.Name()] })
}

func TestWhoIsPreferredHasItThoughTheHolderAlwaysWantsItAgain(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	x, z, y := join(t, srv), join(t, srv), join(t, srv)
	prefer := rank(map[string]int{x.Name(): 1, z.Name(): 2, y.Name(): 3}) // y is listed, and does not want it
	ctx, cancel := context.WithCancel(soon(t))
	ran := make(chan struct{}, 1000)
	ended := make(chan error)
	go func() {
		ended <- exclusive.Run(ctx, x.Scope, "leader", func(context.Context, uint64) error { ran <- struct{}{}; return nil }, prefer)
	}()
	<-ran
	campaign(t, z, "leader", prefer)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestARoleThatIsLostWhileTheClaimIsMadeEndsTheTerm(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	b := link.Bus(withTTL())
	rolebustest.WaitNodes(t, b, "worker", 0)
	campaign(t, b, "other") // so that the bucket is known
	for range 5 {
		require.NoError(t, b.AddRoles(soon(t), "worker"))
		link.Delay(50 * time.Millisecond)
		got := make(chan *exclusive.Term, 1)
		ctx, cancel := context.WithCancel(soon(t))
		go func() {
			term, _ := exclusive.Campaign(ctx, b.Scope, "leader", exclusive.Among("worker"))
			got <- term
		}()
		require.NoError(t, b.RemoveRoles(soon(t), "worker"))
		link.Delay(0)
		var term *exclusive.Term
		select {
		case term = <-got:
		case <-time.After(300 * time.Millisecond): // it waits for the role
			cancel()
			term = <-got
		}
		cancel()
		if term == nil {
			continue
		}
		eventually(t, "a term of who is no candidate is over", func() bool { return term.Context().Err() != nil })
		require.NoError(t, term.Resign(soon(t)))
	}
}

func TestARoleIsLostAndGotBack(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv, rolebus.WithTTL(lasting)), join(t, srv, rolebus.WithTTL(lasting))
	free(t, a, "claim", "leader")
	require.NoError(t, a.AddRoles(soon(t), "worker"))
	term := campaign(t, a, "leader", exclusive.Among("worker"))
	next := make(chan *exclusive.Term, 2)
	for _, bus := range []*rolebus.Bus{a, b} {
		go func() {
			term, err := exclusive.Campaign(soon(t), bus.Scope, "leader", exclusive.Among("worker"))
			if err == nil {
				next <- term
			}
		}()
	}
	require.NoError(t, a.RemoveRoles(soon(t), "worker"))
	<-term.Context().Done()
	require.ErrorIs(t, context.Cause(term.Context()), exclusive.ErrNotCandidate)
	eventually(t, "it is given up", func() bool { _, is := exclusive.Holder(b.Scope, "leader"); return !is })
	require.NoError(t, b.AddRoles(soon(t), "worker"))
	second := <-next
	require.NoError(t, a.AddRoles(soon(t), "worker"))
	require.NoError(t, second.Context().Err())
	require.NoError(t, b.RemoveRoles(soon(t), "worker"))
	third := <-next
	require.ErrorIs(t, context.Cause(second.Context()), exclusive.ErrNotCandidate)
	require.Greater(t, third.Token(), second.Token())
	require.Greater(t, second.Token(), term.Token())
}
