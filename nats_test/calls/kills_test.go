//go:build linux

package calls_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/rolebustest"
)

// Promise 15, of real processes: with enough retries every call of an idempotent method is answered, by the very life that was asked.
func TestEveryIdempotentCallIsAnsweredUnderKills(t *testing.T) { underKills(t, true) }

// And of a method that is not idempotent no call runs twice; what a failure says of it is true.
func TestNoCallRunsTwiceUnderKills(t *testing.T) { underKills(t, false) }

func underKills(t *testing.T, idempotent bool) {
	if *callsFlag <= fewCalls { // more are measured, alone
		t.Parallel()
	}
	seed := cmp.Or(*seedFlag, uint64(time.Now().UnixNano()))
	srv := rolebustest.NewServer(t)
	c := newCalls(t, srv, *callsFlag, idempotent)
	f, err := startFleet(srv.URL(), t.TempDir(), 5)
	defer f.close()
	require.NoError(t, err)
	rolebustest.WaitNodes(t, c.callers[0].bus, worker, len(f.seats))

	ctx, cancel := context.WithCancel(context.Background())
	harmed := make(chan error, 1)
	go func() { harmed <- f.harm(ctx, rand.New(rand.NewPCG(seed, 1))) }()
	began := time.Now()
	c.run()
	took := time.Since(began)
	cancel()
	err = <-harmed
	t.Logf("seed %d, %v, %d processes: %v", seed, took.Round(time.Millisecond), f.started, f.counts)
	require.NoError(t, err)
	require.NoError(t, f.settle())
	ran, err := ledgers(f.dir)
	require.NoError(t, err)
	c.judge(ran)
	if t.Failed() {
		t.Logf("again: -seed=%d\n%s", seed, f.told.String())
	}
	require.NotEmpty(t, f.counts, "something happened")
}

// Processes that are drained by SIGTERM, one after another, cost no call anything but another try: whether its method is idempotent or
// not, each is answered, and those that are not run once.
func TestNoCallFailsWhileProcessesAreDrained(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{true, false} {
		srv := rolebustest.NewServer(t)
		c := newCalls(t, srv, math.MaxInt, idempotent)
		c.sure, c.timeout, c.atOnce = true, patience, 8 // with far too many a call may take longer than a drain waits for those who have not heard
		f, err := startFleet(srv.URL(), t.TempDir(), 3)
		defer f.close()
		require.NoError(t, err)
		rolebustest.WaitNodes(t, c.callers[0].bus, worker, len(f.seats))
		stop := c.start()
		for i := range 4 {
			s := f.seats[i%len(f.seats)]
			life := c.callers[0].bus.Nodes(worker).Find(s.node).Incarnation()
			_, err := f.next(s, 5)
			require.NoError(t, err)
			<-s.now.ended
			f.judge(s)
			require.NoError(t, f.start(s))
			rolebustest.Within(t, patience, "its next life", func() bool {
				n := c.callers[0].bus.Nodes(worker).Find(s.node)
				return n != nil && n.Incarnation() > life
			})
		}
		stop()
		require.NoError(t, f.settle())
		ran, err := ledgers(f.dir)
		require.NoError(t, err)
		c.judge(ran)
	}
}
