package calls_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// book is where the nodes of this process write what they run.
type book struct {
	mu   sync.Mutex
	runs map[uint64][]life
}

func (b *book) write(id uint64, at life) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs == nil {
		b.runs = map[uint64][]life{}
	}
	b.runs[id] = append(b.runs[id], at)
}

// all returns what has run.
func (b *book) all() map[uint64][]life {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs
}

// server is a node that serves, in this process.
type server struct {
	*rolebus.Bus
	endpoint *call.Endpoint
	began    atomic.Int64 // jobs
	ended    atomic.Int64
}

// serve starts a node whose jobs take so long, or end with their context.
func serve(t *testing.T, srv *rolebustest.Server, b *book, name string, takes time.Duration, opts ...call.HandleOption) *server {
	t.Helper()
	s := &server{Bus: srv.Bus(rolebus.WithNode(name), rolebus.WithTTL(3*time.Second))}
	at := life{name, s.Snapshot().Node(name).Incarnation()}
	var err error
	s.endpoint, err = call.Handle(s.Scope, "work", func(ctx context.Context, j job) (done, error) {
		s.began.Add(1)
		defer s.ended.Add(1)
		b.write(j.ID, at)
		select {
		case <-time.After(takes):
			return done{j.ID, at.node, at.incarnation}, nil
		case <-ctx.Done():
			return done{}, context.Cause(ctx)
		}
	}, opts...)
	require.NoError(t, err)
	require.NoError(t, s.AddRoles(t.Context(), "worker"))
	return s
}

// busy waits until a node has been given some jobs.
func (s *server) busy(t *testing.T, jobs int64) {
	t.Helper()
	from := s.began.Load()
	rolebustest.Within(t, patience, s.Name()+" to have work", func() bool { return s.began.Load() >= from+jobs })
}

func shutdown(t *testing.T, b *rolebus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, b.Shutdown(ctx))
}

// While one node after another is drained, and another comes in its place, no call fails that may be tried again, and none runs twice:
// whether its method is idempotent or not, as what a draining node refuses has not run.
func TestNoCallFailsWhileNodesAreDrained(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{true, false} {
		t.Run(fmt.Sprint("idempotent=", idempotent), func(t *testing.T) {
			srv := rolebustest.NewServer(t)
			var b book
			c := newCalls(t, srv, math.MaxInt, idempotent)
			c.sure, c.timeout, c.atOnce = true, patience, 8 // with far too many a call may take longer than a drain waits for those who have not heard
			var servers []*server
			for i := range 3 {
				servers = append(servers, serve(t, srv, &b, fmt.Sprint("n", i), time.Millisecond))
			}
			for _, on := range c.callers {
				rolebustest.WaitNodes(t, on.bus, "worker", len(servers))
			}
			stop := c.start()
			for i := range 6 {
				old := servers[i%len(servers)]
				old.busy(t, 20)
				shutdown(t, old.Bus)
				require.Equal(t, old.began.Load(), old.ended.Load())
				servers[i%len(servers)] = serve(t, srv, &b, old.Name(), time.Millisecond)
			}
			stop()
			c.judge(b.all())
		})
	}
}

// An endpoint that is closed, and a scope that is left, end what they began: it is answered, and nothing else has run.
func TestWhatWasAcceptedIsAnswered(t *testing.T) {
	ends := map[string]func(ctx context.Context, s *server) error{
		"Endpoint.Close": func(ctx context.Context, s *server) error { return s.endpoint.Close(ctx) },
		"Leave":          func(ctx context.Context, s *server) error { return s.Leave(ctx, s.Scope.Name()) },
		"Shutdown":       func(ctx context.Context, s *server) error { return s.Shutdown(ctx) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			srv := rolebustest.NewServer(t)
			var b book
			s := serve(t, srv, &b, "n1", 20*time.Millisecond, call.Concurrency(8)) // some wait in the queue
			caller := srv.Bus()
			rolebustest.WaitNodes(t, caller, "worker", 1)
			m, err := call.New[job, done](caller.Scope, "worker", "work")
			require.NoError(t, err)
			node := caller.Nodes("worker").At(0)

			var calling sync.WaitGroup
			var next atomic.Uint64
			var over atomic.Bool
			var mu sync.Mutex
			answered, refused := map[uint64]bool{}, map[uint64]error{}
			for range 32 {
				calling.Go(func() {
					for !over.Load() {
						id := next.Add(1)
						_, err := m.CallNode(context.Background(), node, job{id})
						mu.Lock()
						if err == nil {
							answered[id] = true
						} else {
							refused[id] = err
						}
						mu.Unlock()
						if err != nil {
							time.Sleep(20 * time.Microsecond) // to be refused takes no time
						}
					}
				})
			}
			s.busy(t, 40)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			require.NoError(t, end(ctx, s))
			require.Equal(t, s.began.Load(), s.ended.Load(), "it has returned, and something still runs")
			over.Store(true)
			calling.Wait()

			ran := b.all()
			require.Len(t, ran, len(answered), "what ran was answered")
			for id := range answered {
				require.Len(t, ran[id], 1)
			}
			require.NotEmpty(t, refused)
			for id, err := range refused {
				require.Empty(t, ran[id])
				var failed *call.CallError
				require.ErrorAs(t, err, &failed)
				require.False(t, failed.MayHaveRun(), "%v", err)
				require.True(t, errors.Is(err, call.ErrDraining) || errors.Is(err, call.ErrNoMethod) || errors.Is(err, call.ErrUnreachable), "%v", err)
			}
		})
	}
}

// A Bus that is closed waits for nobody. Who had a call there is told that it may have run, and nobody else is.
func TestACloseIsToldAsItIs(t *testing.T) {
	srv := rolebustest.NewServer(t)
	var b book
	c := newCalls(t, srv, math.MaxInt, false)
	var servers []*server
	for i := range 3 {
		servers = append(servers, serve(t, srv, &b, fmt.Sprint("n", i), 5*time.Millisecond))
	}
	for _, on := range c.callers {
		rolebustest.WaitNodes(t, on.bus, "worker", len(servers))
	}
	stop := c.start()
	for i := range 6 {
		old := servers[i%len(servers)]
		old.busy(t, 20)
		require.NoError(t, old.Close())
		rolebustest.Within(t, patience, "what ran to end", func() bool { return old.began.Load() == old.ended.Load() })
		servers[i%len(servers)] = serve(t, srv, &b, old.Name(), 5*time.Millisecond)
	}
	stop()
	c.judge(b.all())
}

// Closing ends when its ctx does: then what runs is cancelled, its callers hear that it may have run, and the error says how many.
func TestAnEndpointDoesNotWaitForEver(t *testing.T) {
	srv := rolebustest.NewServer(t)
	var b book
	s := serve(t, srv, &b, "n1", time.Hour)
	caller := srv.Bus()
	rolebustest.WaitNodes(t, caller, "worker", 1)
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.Timeout(patience))
	require.NoError(t, err)
	const jobs = 5
	errs := make(chan error, jobs)
	for i := range jobs {
		go func() {
			_, err := m.Call(context.Background(), job{uint64(i + 1)})
			errs <- err
		}()
	}
	rolebustest.Eventually(t, "the jobs to run", func() bool { return s.began.Load() == jobs })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = s.endpoint.Close(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, fmt.Sprint(jobs))
	for range jobs {
		err := <-errs
		require.ErrorIs(t, err, call.ErrUnreachable)
		var failed *call.CallError
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.MayHaveRun())
	}
	rolebustest.Eventually(t, "the handlers to end", func() bool { return s.ended.Load() == jobs })
}

// A caller's Bus that is closed ends its calls at once, and tells those who work for it.
func TestACallerThatClosesEndsItsCalls(t *testing.T) {
	srv := rolebustest.NewServer(t)
	var b book
	s := serve(t, srv, &b, "n1", time.Hour)
	caller := srv.Bus()
	rolebustest.WaitNodes(t, caller, "worker", 1)
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.Timeout(time.Hour), call.Retry(3))
	require.NoError(t, err)
	const jobs = 5
	errs := make(chan error, jobs)
	for i := range jobs {
		go func() {
			_, err := m.Call(context.Background(), job{uint64(i + 1)})
			errs <- err
		}()
	}
	rolebustest.Eventually(t, "the jobs to run", func() bool { return s.began.Load() == jobs })
	require.NoError(t, caller.Close())
	for range jobs {
		require.ErrorIs(t, <-errs, rolebus.ErrClosed)
	}
	rolebustest.Within(t, patience, "the handlers to be cancelled", func() bool { return s.ended.Load() == jobs })
	_, err = m.Call(t.Context(), job{9})
	require.ErrorIs(t, err, rolebus.ErrClosed)
	require.Empty(t, b.all()[9])
}
