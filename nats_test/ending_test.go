package nats_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// With the TTL of a fleet: a goodbye that did not get through would be seen when the lease ends.
func TestCloseDuringARestartOfTheServer(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	long := rolebus.WithTTL(30 * time.Second)
	provision(t, srv)
	o := bus(srv, "o", rolebus.WithObserver(), long)
	for name, cut := range map[string]func(a *rolebus.Bus){
		"closed while it is down": func(*rolebus.Bus) { srv.Stop() },
		"closed as it goes down":  func(*rolebus.Bus) { go srv.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			a := bus(srv, "a", long, rolebus.WithRoles("x"))
			rolebustest.WaitRoles(t, o, "a", "x")
			seen := watch(t, o.Scope)
			cut(a)
			closed := make(chan error, 1)
			go func() { closed <- a.Close() }()
			eventually(t, "the server to be down", func() bool { return !srv.Running() })
			down := time.NewTimer(200 * time.Millisecond) // as a restart takes
			<-down.C
			srv.Start()
			back := time.Now()
			err := <-closed
			took := time.Since(back)
			require.NoError(t, err)
			rolebustest.WaitRoles(t, o, "a")
			eventually(t, "the goodbye", func() bool {
				lines := seen.lines("a")
				return len(lines) > 0 && lines[len(lines)-1] == "NodeLeft left"
			})
			t.Logf("the goodbye was heard %v after the server was back", took)
		})
	}
}

// Workers come and go while others send them jobs, each once, over the workers' own connections, and as an observer, whom the
// workers do not see.
func TestDrainedWorkersLoseNoJob(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var jobs atomic.Int64
	work := func(name string) *rolebus.Bus {
		b := bus(srv, name)
		sub, err := b.Conn().Subscribe("job."+name, func(msg *nats.Msg) {
			time.Sleep(5 * time.Millisecond) // the work
			jobs.Add(1)
			_ = msg.Respond(nil) // if it does not get through, the one who asks tells
		})
		require.NoError(t, err)
		b.OnShutdown(func(ctx context.Context) {
			done := make(chan struct{})
			sub.SetClosedHandler(func(string) { close(done) })
			if err := sub.Drain(); err != nil {
				t.Errorf("drain: %v", err)
				return
			}
			select {
			case <-done:
			case <-ctx.Done():
				t.Errorf("%s was not drained", name)
			}
		})
		require.NoError(t, b.AddRoles(t.Context(), "worker"))
		return b
	}
	work("stays")
	o := bus(srv, "o", rolebus.WithObserver())
	var askers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 4 {
		askers.Go(func() {
			for ctx.Err() == nil {
				worker := o.Nodes("worker").Pick()
				if _, err := o.Conn().Request("job."+worker.Name(), nil, 20*time.Second); err != nil {
					t.Errorf("a job of %s: %v", worker, err)
				}
			}
		})
	}
	for i := range 8 {
		b := work(fmt.Sprint("passes-", i))
		rolebustest.WaitRoles(t, o, b.Name(), "worker")
		before := jobs.Load()
		eventually(t, "it to be busy", func() bool { return jobs.Load() > before+20 })
		require.NoError(t, b.Shutdown(t.Context()))
	}
	stop()
	askers.Wait()
	t.Logf("%d jobs", jobs.Load())
}

func TestTwoBusesWithoutANameAreTwoNodes(t *testing.T) {
	srv := rolebustest.NewServer(t)
	var both []*rolebus.Bus
	for range 2 {
		b, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithRoles("x"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		both = append(both, b)
	}
	for _, b := range both {
		eventually(t, "both", func() bool { return b.Nodes("x").Len() == 2 })
		require.NoError(t, b.Err())
		require.True(t, b.Conn().IsConnected())
		require.NoError(t, b.Check())
	}
}

// Workers leave a scope and come back, again and again, while others send jobs to whoever has the role there, each once. All that was
// sent is done and answered: a life hears until its goodbye, and the goodbye waits for what it heard.
func TestWorkersThatLeaveAndComeBackLoseNoJob(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var done atomic.Int64
	var workers []*rolebus.Scope
	for _, name := range []string{"w1", "w2", "w3"} {
		s := bus(srv, name, rolebus.WithTTL(longTTL)).In("jobs")
		var running sync.WaitGroup
		_, err := s.Listen("job", "do", func(msg *nats.Msg) {
			running.Go(func() {
				time.Sleep(5 * time.Millisecond) // the work
				done.Add(1)
				_ = msg.Respond(nil) // if it does not get through, the one who asks tells
			})
		})
		require.NoError(t, err)
		s.OnLeave(func(context.Context) { running.Wait() })
		require.NoError(t, s.AddRoles(t.Context(), "worker"))
		workers = append(workers, s)
	}
	dispatcher := bus(srv, "d", rolebus.WithScopes("jobs"), rolebus.WithTTL(longTTL)).In("jobs")
	rolebustest.WaitNodes(t, dispatcher, "worker", len(workers))
	stop := make(chan struct{})
	var sending sync.WaitGroup
	var sent atomic.Int64
	for range 4 {
		sending.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := dispatcher.Nodes("worker").Pick()
				if n == nil {
					continue
				}
				sent.Add(1)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				_, err := dispatcher.Bus().Conn().RequestWithContext(ctx, dispatcher.Address("job", n, "do"), nil)
				cancel()
				if err != nil {
					t.Errorf("a job for %s: %v", n.Name(), err)
				}
			}
		})
	}
	for round := range 9 {
		s := workers[round%len(workers)]
		require.NoError(t, s.Bus().Leave(t.Context(), "jobs"))
		before := sent.Load()
		eventually(t, "the others to work", func() bool { return sent.Load() > before+10 })
		require.NoError(t, s.AddRoles(t.Context(), "worker"))
	}
	close(stop)
	sending.Wait()
	require.Equal(t, sent.Load(), done.Load(), "each was done once")
}
