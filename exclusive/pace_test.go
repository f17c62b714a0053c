package exclusive_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// mostTries is how often a campaign may have tried in vain since it began: pauses double up to a second.
func mostTries(began time.Time) int64 { return 8 + int64(time.Since(began)/time.Second) }

// Somebody says that it holds a name which is free for all that the bucket knows: he is asked now and then, not without a pause.
func TestWhoCannotHaveAFreeNameTakesItsTime(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	b := join(t, srv, rolebus.WithTTL(lasting))
	free(t, b, "claim", "busy")
	require.NoError(t, campaign(t, b, "busy").Resign(soon(t)))
	other := srv.Conn()
	var asked atomic.Int64
	_, err := other.Subscribe(b.Subject("claim", "busy"), func(msg *nats.Msg) {
		asked.Add(1)
		_ = msg.Respond([]byte(`{"node":"other","incarnation":1,"token":1,"ttl":1000,"since":1}`))
	})
	require.NoError(t, err)
	require.NoError(t, other.Flush())
	began := time.Now()
	ctx, cancel := context.WithCancel(soon(t))
	ended := make(chan error, 2)
	for range cap(ended) { // each of which hears when the other one has come to nothing
		go func() {
			_, err := exclusive.Campaign(ctx, b.Scope, "busy")
			ended <- err
		}()
	}
	eventually(t, "it is asked", func() bool { return asked.Load() > 0 })
	<-time.After(time.Second) // in which whoever takes no time tries some thousand times
	require.LessOrEqual(t, asked.Load(), int64(cap(ended))*mostTries(began))
	cancel()
	for range cap(ended) {
		require.ErrorIs(t, <-ended, context.Canceled)
	}
}

func TestWhoIsCutOffTakesItsTime(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	b := link.Bus(rolebus.WithTTL(lasting))
	free(t, b, "claim", "far")
	require.NoError(t, campaign(t, b, "far").Resign(soon(t)))
	link.Cut()
	eventually(t, "it notices", func() bool { return !b.Connected() })
	var looked atomic.Int64
	began := time.Now()
	got := make(chan error, 1)
	go func() {
		_, err := exclusive.Campaign(soon(t), b.Scope, "far", exclusive.Prefer(func(*rolebus.Node) int {
			looked.Add(1)
			return 0
		}))
		got <- err
	}()
	<-time.After(time.Second) // in which whoever takes no time tries some thousand times
	require.LessOrEqual(t, looked.Load(), 10*mostTries(began), "some times for each try")
	link.Mend()
	require.NoError(t, <-got)
}

// Seats whose holders are gone since before this process came must be asked about. The one that is free is had all the same.
func TestTheFreeSeatIsHadBesideManyThatMustBeAskedAbout(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	b := join(t, srv, rolebus.WithTTL(lasting))
	const seats = 100
	for _, one := range []int{0, seats / 2} { // wherever this node begins, one of them is far
		name := fmt.Sprint("pool", one)
		for seat := range seats {
			kind, key := "seat", fmt.Sprint(name, "/", seat)
			if seat == 0 {
				kind, key = "claim", name
			}
			if seat == one {
				free(t, b, kind, key)
				continue
			}
			_, err := b.Entries(kind).Put(soon(t), key, `{"node":"gone","incarnation":1,"token":1,"ttl":60000,"since":1}`, 0)
			require.NoError(t, err)
		}
		require.Equal(t, one, campaign(t, b, name, exclusive.Seats(seats)).Seat())
	}
}

// What a program resigns that is still its own by the members' names it has again, and not at once for ever.
func TestAPartitionThatIsResignedAgainAndAgainIsHadNowAndThen(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	b := join(t, srv, rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	freePartitions(t, b, 1)
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	var began time.Time
	had := int64(0)
	for a := range exclusive.Partitions(ctx, b.Scope, "worker", 1, exclusive.Strict()) {
		if len(a.Gained) == 0 {
			continue
		}
		if had++; had == 1 {
			began = time.Now()
		}
		require.NoError(t, a.Term(0).Resign(soon(t)))
		if time.Since(began) > 2*time.Second {
			break
		}
	}
	require.Greater(t, had, int64(1), "it is had again")
	require.LessOrEqual(t, had, 2*mostTries(began))
}
