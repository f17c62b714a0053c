//go:build long

package exclusive_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func TestCampaignsThatAreOverLeaveNothingBehind(t *testing.T) {
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv), join(t, srv)
	campaign(t, b, "other")
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			for range 500 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.N(4000))*time.Microsecond)
				term, err := exclusive.Campaign(ctx, a.Scope, fmt.Sprint("job-", rand.N(30)), exclusive.Seats(1+rand.N(2)))
				if err == nil {
					err = term.Resign(soon(t))
					if err != nil {
						t.Error(err)
					}
				}
				cancel()
			}
		})
	}
	running.Wait()
	eventually(t, "no claim is left", func() bool {
		for n := range 30 {
			if len(exclusive.Holders(a.Scope, fmt.Sprint("job-", n))) > 0 || len(exclusive.Holders(b.Scope, fmt.Sprint("job-", n))) > 0 {
				return false
			}
		}
		return true
	})
	for n := range 30 {
		require.NoError(t, campaign(t, b, fmt.Sprint("job-", n)).Resign(soon(t)))
	}
}

func TestNobodySleepsThoughTheNameIsFree(t *testing.T) {
	srv := rolebustest.NewServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const rounds = 1000
	var count, holders, last atomic.Uint64
	var running sync.WaitGroup
	for range 5 {
		b := join(t, srv)
		for range 3 {
			running.Go(func() {
				for count.Load() < rounds {
					term, err := exclusive.Campaign(ctx, b.Scope, "leader")
					if err != nil {
						t.Error(err)
						return
					}
					if holders.Add(1) != 1 {
						t.Error("two hold it")
					}
					if before := last.Swap(term.Token()); before >= term.Token() {
						t.Error("a token that does not grow")
					}
					count.Add(1)
					holders.Add(^uint64(0))
					if err := term.Resign(ctx); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	running.Wait()
	require.NoError(t, ctx.Err())
}

func TestManyWhoWaitAreNoHerd(t *testing.T) {
	srv := rolebustest.NewServer(t)
	var puts atomic.Int64
	counter := srv.Conn()
	_, err := counter.Subscribe("$KV.rolebus.default.claim.leader", func(*nats.Msg) { puts.Add(1) })
	require.NoError(t, err)
	require.NoError(t, counter.Flush())
	ctx, cancel := context.WithCancel(soon(t))
	got := make(chan *exclusive.Term, 300)
	holder := join(t, srv)
	term := campaign(t, holder, "leader")
	const processes, each, rounds = 10, 30, 20
	for range processes {
		b := join(t, srv)
		for range each {
			go func() {
				term, _ := exclusive.Campaign(ctx, b.Scope, "leader")
				got <- term
			}()
		}
		eventually(t, "it knows the holder", func() bool { _, is := exclusive.Holder(b.Scope, "leader"); return is })
	}
	before := puts.Load()
	for range rounds {
		require.NoError(t, term.Resign(ctx))
		term = <-got
	}
	t.Logf("%d wait in %d processes; writes for each resignation, its own among them: %.1f", processes*each, processes, float64(puts.Load()-before)/rounds)
	cancel()
	for range processes*each - rounds {
		require.Nil(t, <-got)
	}
}
