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

// busy is a worker whose loop's body takes for ever over the first Assignment with so many partitions.
func busy(t *testing.T, b *rolebus.Bus, partitions int, handover time.Duration) (at <-chan exclusive.Assignment, over context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	got, free, done := make(chan exclusive.Assignment, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for a := range exclusive.Partitions(ctx, b.Scope, "worker", 8, exclusive.Strict(), exclusive.Handover(handover)) {
			if len(a.Partitions) == partitions {
				got <- a
				<-free
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		close(free)
		<-done
	})
	return got, cancel
}

// What a program was not told of yet it does nothing with: nobody waits until it has ended that.
func TestPartitionsThatNobodyWasToldOfAreHandedOverAtOnce(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	freePartitions(t, a, 8)
	busy(t, a, 0, time.Hour)
	eventually(t, "it has claimed all", func() bool {
		for p := range 8 {
			if _, is := exclusive.Owner(a.Scope, "worker", 8, p, exclusive.Strict()); !is {
				return false
			}
		}
		return true
	})
	w := work(t, join(t, srv, rolebus.WithTTL(lasting), rolebus.WithRoles("worker")), 8, exclusive.Strict())
	eventually(t, "its part is another's", func() bool { return len(w.now().Partitions) == 4 })
	require.NoError(t, a.Shutdown(soon(t)))
	eventually(t, "all is", func() bool { return len(w.now().Partitions) == 8 })
}

// Who takes long over what he was told last has the time of a handover when his context is over, no more.
func TestPartitionsAreGivenUpWhenTheContextIsOver(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	freePartitions(t, a, 8)
	at, over := busy(t, a, 8, time.Second)
	had := <-at
	over()
	all := func(over func(*exclusive.Term) <-chan struct{}) func() bool {
		return func() bool {
			for _, p := range had.Partitions {
				select {
				case <-over(had.Term(p)):
				default:
					return false
				}
			}
			return true
		}
	}
	eventually(t, "all is to be given up", all((*exclusive.Term).Leaving))
	eventually(t, "all is given up", all(func(term *exclusive.Term) <-chan struct{} { return term.Context().Done() }))
	for _, p := range had.Partitions {
		require.ErrorIs(t, context.Cause(had.Term(p).Context()), exclusive.ErrResigned)
	}
	require.NoError(t, a.RemoveRoles(soon(t), "worker"))
	w := work(t, join(t, srv, rolebus.WithTTL(lasting), rolebus.WithRoles("worker")), 8, exclusive.Strict())
	eventually(t, "another one has all", func() bool { return len(w.now().Partitions) == 8 })
}

// A program hears that its partitions are to be given up, whoever asks for that: also where the scope is left before this process hears that its role has gone.
func TestPartitionsOfWhoLeavesWithoutContactAreLostFirst(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a := link.Bus(rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	freePartitions(t, a, 8)
	var left chan error
	for got := range exclusive.Partitions(soon(t), a.Scope, "worker", 8, exclusive.Strict(), exclusive.Handover(time.Hour)) {
		switch {
		case len(got.Partitions) == 8:
			link.Cut()
			eventually(t, "it knows", func() bool { return !a.Connected() })
			left = make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				left <- a.Leave(ctx, "default")
			}()
		case left != nil && len(got.Lost) > 0:
			for _, p := range got.Lost {
				require.NoError(t, context.Cause(got.Term(p).Context()), "there is time to end what is done there")
			}
			require.Error(t, <-left)
			return
		}
	}
	t.Fatal("nothing is lost")
}
