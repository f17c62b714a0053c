package replaced

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

const (
	buses   = 5
	patient = time.Minute // longer than anything lasts that is in order
)

// Source is what strategies ask, in the hands of a test.
type Source struct {
	// Strategy makes one that asks the source, for a bus: addresses come from nowhere else.
	Strategy func() rolebus.Strategy
	// Tell has the source list these from now on. It need not wait until anybody has learnt of it.
	Tell func(addresses []rolebus.Address)
	// Meanwhile is called before a server goes, with a number from 0 on, and what it returns before the source is to list the next one:
	// between the two the source may fail. Nil: it does not.
	Meanwhile func(n int) (undo func())
	// Known is the host and the port by which the strategy tells of an address. Nil: as they are.
	Known func(rolebus.Address) string
	// NATS is what connections need besides.
	NATS []nats.Option
}

// Course is what is done.
type Course struct {
	Shape
	// Rounds is how often each server is replaced. Default: once.
	Rounds int
	// New has other servers with other names and nothing stored take the place of those that go. Else they come back, elsewhere.
	New bool
}

// Run has a fleet of buses that know servers only by a strategy work while all servers are replaced, one after another. It fails if
// anybody is reported lost, if any call, change of roles or reading of a user fails, or if somebody does not follow: is not connected to one of
// the servers that there are in the end, or has others in its pool.
func Run(t *testing.T, course Course, source func(t *testing.T, c *Cluster) Source) {
	t.Helper()
	c := New(t, course.Shape)
	src := source(t, c)
	src.Tell(c.Addresses())
	f := &fleet{t: t, known: src.Known}
	if f.known == nil {
		f.known = rolebus.Address.HostPort
	}
	for i := range buses {
		opts := append(c.Options(), src.NATS...)
		if !course.Advertise {
			opts = append(opts, nats.IgnoreDiscoveredServers())
		}
		f.join(i, rolebus.WithDiscovery(src.Strategy()), rolebus.WithNATS(opts...))
	}
	stop := f.work()
	n := 0
	for range max(1, course.Rounds) {
		for i := range size {
			undo := func() {}
			if src.Meanwhile != nil {
				undo = src.Meanwhile(n)
			}
			c.Stop(i)
			if n%2 == 0 && src.Meanwhile == nil {
				src.Tell(c.Addresses()) // else it lists the one that is gone until there is another
			}
			if course.New {
				c.Succeed(i)
			} else {
				c.Return(i)
			}
			undo()
			src.Tell(c.Addresses())
			f.follow(c.Addresses())
			n++
		}
	}
	stop()
	f.check()
	t.Logf("%d servers replaced under %d buses, %d calls, none failed; every pool had what the source listed within %v", n, buses, f.calls.Load(), f.late.Round(time.Millisecond))
}

// fleet is the buses, and what went wrong with them.
type fleet struct {
	t     *testing.T
	known func(rolebus.Address) string
	all   []*rolebus.Bus
	calls atomic.Int64
	late  time.Duration // the longest that a change of the list took to reach all pools

	log record

	mu    sync.Mutex
	wrong []string
}

// record is what was logged.
type record struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.Write(line)
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

func (f *fleet) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wrong) < 20 {
		f.wrong = append(f.wrong, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
	}
}

func (f *fleet) join(i int, opts ...rolebus.Option) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patient)
	defer cancel()
	name := fmt.Sprintf("node-%d", i)
	log := slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b, err := rolebus.Connect(ctx, "", append(opts, rolebus.WithLogger(log), rolebus.WithNode(name), rolebus.WithTTL(ttl), rolebus.WithSyncInterval(time.Second))...)
	require.NoError(f.t, err)
	f.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			f.t.Errorf("replaced: closing %s: %v", name, err)
		}
	})
	_, err = call.Handle(b.Scope, "double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	require.NoError(f.t, err)
	require.NoError(f.t, b.AddRoles(ctx, "worker"))
	f.all = append(f.all, b)
}

// work has all of them call each other, change their roles and read, until stop.
func (f *fleet) work() (stop func()) {
	f.t.Helper()
	for _, b := range f.all {
		rolebustest.WaitNodes(f.t, b, "worker", len(f.all))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	for _, b := range f.all {
		double := call.Func[int, int](b.Scope, "worker", "double", call.Idempotent(), call.Timeout(time.Second), call.Retry(9), call.Backoff(5*time.Millisecond, 200*time.Millisecond))
		working.Go(func() { f.watch(ctx, b) })
		repeat := func(do func(ctx context.Context, n int)) {
			working.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					within, cancel := context.WithTimeout(context.Background(), patient)
					do(within, n)
					cancel()
					time.Sleep(20 * time.Millisecond) // others work on this machine, too
				}
			})
		}
		repeat(func(ctx context.Context, n int) {
			f.calls.Add(1)
			if got, err := double(ctx, n); err != nil || got != 2*n {
				f.fail("%s: a call: %d, %v", b.Name(), got, err)
			}
		})
		repeat(func(ctx context.Context, n int) {
			role := rolebus.Role(fmt.Sprintf("busy-%d", n))
			if err := b.AddRoles(ctx, role); err != nil {
				f.fail("%s: a role more: %v", b.Name(), err)
			}
			if err := b.RemoveRoles(ctx, role); err != nil {
				f.fail("%s: a role less: %v", b.Name(), err)
			}
		})
		repeat(func(_ context.Context, _ int) {
			if n := b.Nodes("worker").Len(); n != len(f.all) {
				f.fail("%s: sees %d workers", b.Name(), n)
			}
		})
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			working.Wait()
		})
	}
	f.t.Cleanup(stop)
	return stop
}

// watch notes who is reported lost.
func (f *fleet) watch(ctx context.Context, b *rolebus.Bus) {
	for e := range b.Watch(ctx) {
		if e.Kind == rolebus.NodeLeft {
			f.fail("%s: was told that %s left: %v", b.Name(), e.Node.Name(), e.Reason)
		}
	}
}

// follow waits until each bus may go to these servers only, and has gone to one of them.
func (f *fleet) follow(to []rolebus.Address) {
	f.t.Helper()
	var want, known []string
	for _, a := range to {
		want, known = append(want, a.HostPort()), append(known, f.known(a))
	}
	slices.Sort(known)
	began := time.Now()
	rolebustest.Within(f.t, patient, fmt.Sprintf("all to know only %v", known), func() bool {
		return !slices.ContainsFunc(f.all, func(b *rolebus.Bus) bool { return !slices.Equal(Pool(b), known) })
	})
	f.late = max(f.late, time.Since(began))
	for _, b := range f.all {
		f.t.Cleanup(func() { // of the last one that was waited for
			if f.t.Failed() && b.Connected() && !slices.Equal(Pool(b), known) {
				f.t.Logf("%s is with %s (%s), and knows %v", b.Name(), b.Conn().ConnectedAddr(), b.Conn().ConnectedUrlRedacted(), Pool(b))
			}
		})
		rolebustest.Within(f.t, patient, fmt.Sprintf("%s to be with one of %v, and to know only them", b.Name(), want), func() bool {
			return b.Connected() && slices.Contains(want, b.Conn().ConnectedAddr()) && slices.Equal(Pool(b), known)
		})
	}
}

// Pool are the servers to which a bus may go, host:port, sorted.
func Pool(b *rolebus.Bus) []string {
	var all []string
	for _, s := range b.Conn().ServerPool() {
		all = append(all, s.URL.Host)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (f *fleet) check() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wrong) > 0 {
		f.t.Fatalf("replaced:\n%s\nlog:\n%s", strings.Join(f.wrong, "\n"), f.log.text())
	}
	require.Greater(f.t, f.calls.Load(), int64(buses), "nobody has called")
	for _, b := range f.all {
		rolebustest.Within(f.t, patient, b.Name()+" to be well", func() bool { return b.Check() == nil })
	}
}
