//go:build long

package exclusive_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// How long nobody holds a name after a crash, that is from the last moment at which the holder could be heard. It prints what it measures.
func TestFromACrashToTheNextTerm(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	waiter := join(t, srv)
	var gaps []time.Duration
	for round := range 30 {
		link := srv.Link()
		holder := link.Bus(withTTL())
		name := fmt.Sprint("leader-", round)
		first := campaign(t, holder, name)
		next := make(chan *exclusive.Term, 1)
		go func() {
			term, _ := exclusive.Campaign(soon(t), waiter.Scope, name)
			next <- term
		}()
		eventually(t, "the waiter knows it", func() bool { _, is := exclusive.Holder(waiter.Scope, name); return is })
		time.Sleep(time.Duration(round) * ttl / 30) // at all moments between two heartbeats
		link.Stall()                                // as a machine that lost its power: nothing comes, and nothing says why
		began := time.Now()
		term := <-next
		gaps = append(gaps, time.Since(began))
		require.NotNil(t, term)
		require.Error(t, first.Context().Err())
		require.Greater(t, term.Token(), first.Token())
		link.Cut()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = holder.Shutdown(ctx)
	}
	t.Log(gaps)
	t.Logf("from a crash to the next term, TTL %v, %d rounds: p50 %v, p99 %v, beyond the TTL %v",
		ttl, len(gaps), quantile(gaps, 0.5), quantile(gaps, 0.99), quantile(gaps, 0.99)-ttl)
}

// What 1,000 names cost that 20 processes hold, while nothing changes: all messages at the server, and all that the stream stores, over the same
// time with the names and without.
func TestNamesThatAreHeldCostNothing(t *testing.T) {
	t.Parallel()
	const (
		processes, names = 20, 1000
		window           = 20 * time.Second
	)
	srv := rolebustest.NewServer(t)
	var buses []*rolebus.Bus
	for range processes {
		buses = append(buses, srv.Bus(rolebus.WithTTL(15*time.Second), rolebus.WithSyncInterval(7*time.Second))) // as by default: no busy machine costs anybody its lease)
	}
	rolebustest.WaitNodes(t, buses[0], "", 0)
	nc := srv.Conn()
	measure := func(what string) (asked, stored uint64) {
		counted := map[string]uint64{}
		var mu sync.Mutex
		sub, err := nc.Subscribe(">", func(msg *nats.Msg) {
			mu.Lock()
			defer mu.Unlock()
			counted[msg.Subject]++
		})
		require.NoError(t, err)
		js, err := nc.JetStream()
		require.NoError(t, err)
		before, err := js.StreamInfo("KV_rolebus")
		require.NoError(t, err)
		time.Sleep(window) // that is what is measured
		after, err := js.StreamInfo("KV_rolebus")
		require.NoError(t, err)
		require.NoError(t, sub.Unsubscribe())
		mu.Lock()
		defer mu.Unlock()
		claims := uint64(0)
		kinds := map[string]uint64{}
		for subject, n := range counted {
			asked += n
			kind := subject
			if len(kind) > 26 {
				kind = kind[:26]
			}
			kinds[kind] += n
			if len(subject) > 19 && subject[:19] == "$KV.rolebus.default" && len(subject) > 26 && subject[19:26] == ".claim." {
				claims += n
			}
		}
		stored = after.State.LastSeq - before.State.LastSeq
		t.Logf("%s, %v: %d messages seen at the server, %d stored; by subject: %v", what, window, asked, stored, kinds)
		require.Zero(t, claims, "a claim was written while nothing changed")
		return asked, stored
	}
	without, storedWithout := measure("no name")
	var claiming sync.WaitGroup
	for i, b := range buses {
		claiming.Go(func() {
			for n := i; n < names; n += processes {
				if _, err := exclusive.Campaign(soon(t), b.Scope, fmt.Sprint("name-", n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	claiming.Wait()
	for _, b := range buses {
		eventually(t, "all know all", func() bool {
			_, is := exclusive.Holder(b.Scope, fmt.Sprint("name-", names-1))
			return is
		})
	}
	time.Sleep(3 * time.Second) // what the claiming has brought about
	with, storedWith := measure(fmt.Sprint(names, " names"))
	t.Logf("messages with the names: %d, without: %d; stored: %d and %d; %.3f more messages a second for each process",
		with, without, storedWith, storedWithout, (float64(with)-float64(without))/window.Seconds()/processes)
}
