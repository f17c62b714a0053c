package exclusive_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// worker is a process that asks for its partitions, and does nothing but hold them.
type worker struct {
	bus  *rolebus.Bus
	stop context.CancelFunc
	done chan struct{} // closed when its sequence has ended

	mu   sync.Mutex
	last exclusive.Assignment
	all  []exclusive.Assignment
}

// work has a process be a worker until the test ends.
func work(t testing.TB, b *rolebus.Bus, n int, opts ...exclusive.Option) *worker {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{bus: b, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for a := range exclusive.Partitions(ctx, b.Scope, "worker", n, opts...) {
			w.mu.Lock()
			w.last, w.all = a, append(w.all, a)
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-w.done
	})
	return w
}

func (w *worker) now() exclusive.Assignment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *worker) told() []exclusive.Assignment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// whole says whether workers own all partitions, each of them one, and as many as any other, to within one.
func whole(n int, workers ...*worker) bool {
	var all []int
	for _, w := range workers {
		own := w.now().Partitions
		if len(own) < n/len(workers) || len(own) > (n+len(workers)-1)/len(workers) {
			return false
		}
		all = append(all, own...)
	}
	slices.Sort(all)
	return len(slices.Compact(all)) == n
}

func worker3(t testing.TB, srv *rolebustest.Server, n int, opts ...exclusive.Option) []*worker {
	var workers []*worker
	for i := range 3 {
		b := join(t, srv, rolebus.WithNode(fmt.Sprint("w", i)), rolebus.WithRoles("worker"))
		workers = append(workers, work(t, b, n, opts...))
	}
	return workers
}

func TestPartitionsFollowTheMembers(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	caller := join(t, srv)
	idle := work(t, join(t, srv), 20)
	watching := work(t, srv.Bus(rolebus.WithObserver()), 20)
	workers := worker3(t, srv, 20)
	eventually(t, "three share", func() bool { return whole(20, workers...) })
	eventually(t, "the caller sees it", func() bool {
		for p := range 20 {
			n, is := exclusive.Owner(caller.Scope, "worker", 20, p)
			if !is || !slices.Contains(workers[n.Name()[1]-'0'].now().Partitions, p) {
				return false
			}
		}
		return true
	})
	require.NoError(t, workers[0].bus.RemoveRoles(soon(t), "worker"))
	eventually(t, "two share", func() bool { return whole(20, workers[1:]...) && len(workers[0].now().Partitions) == 0 })
	require.NoError(t, workers[0].bus.AddRoles(soon(t), "worker"))
	eventually(t, "three share again", func() bool { return whole(20, workers...) })
	require.NoError(t, workers[1].bus.Shutdown(soon(t)))
	<-workers[1].done
	require.Empty(t, workers[1].now().Partitions, "they went before the node did")
	eventually(t, "the others have all", func() bool { return whole(20, workers[0], workers[2]) })
	for _, w := range append(workers, idle, watching) {
		requireSteps(t, w)
	}
	require.Len(t, idle.told(), 1, "nothing, once")
	require.Len(t, watching.told(), 1, "nothing, once")
	require.NoError(t, workers[0].bus.Leave(soon(t), workers[0].bus.Scope.Name()))
	<-workers[0].done
}

// requireSteps checks that each Assignment follows from the one before, and says something.
func requireSteps(t *testing.T, w *worker) {
	t.Helper()
	var was []int
	for i, a := range w.told() {
		require.True(t, slices.IsSorted(a.Partitions) && slices.IsSorted(a.Gained) && slices.IsSorted(a.Lost))
		require.True(t, i == 0 || len(a.Gained)+len(a.Lost) > 0, "it says nothing")
		is := slices.DeleteFunc(slices.Clone(was), func(p int) bool { return slices.Contains(a.Lost, p) })
		is = append(is, a.Gained...)
		slices.Sort(is)
		require.ElementsMatch(t, a.Partitions, is)
		was = a.Partitions
	}
}

func TestPartitionsByWeight(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var workers []*worker
	for i, weight := range []string{"1", "2", "0", "nonsense"} {
		b := join(t, srv, rolebus.WithNode(fmt.Sprint("w", i)), rolebus.WithRoles("worker"), rolebus.WithMeta(map[string]string{"cores": weight}))
		workers = append(workers, work(t, b, 40, exclusive.Weight("cores")))
	}
	shares := func(want ...int) func() bool {
		return func() bool {
			for i, w := range workers {
				if len(w.now().Partitions) != want[i] {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "by weight", shares(10, 20, 0, 10))
	require.NoError(t, workers[2].bus.SetMeta(soon(t), map[string]string{"cores": "1"}))
	eventually(t, "by the new weight", shares(8, 16, 8, 8))
}

// freePartitions has all n partitions be free.
func freePartitions(t testing.TB, by *rolebus.Bus, n int) {
	t.Helper()
	for p := range n {
		free(t, by, "partition", fmt.Sprintf("worker/%d/%d", n, p))
	}
}

// Who has them hands them over: nobody takes a partition before its holder has resigned, or its time is over.
func TestStrictPartitionsAreHandedOver(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithNode("a"), rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	freePartitions(t, a, 8)
	w := work(t, a, 8, exclusive.Strict(), exclusive.Handover(time.Hour))
	eventually(t, "a has all", func() bool { return whole(8, w) })
	all := w.now()
	for _, p := range all.Partitions {
		require.NoError(t, all.Term(p).Context().Err())
	}
	b := join(t, srv, rolebus.WithNode("b"), rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	v := work(t, b, 8, exclusive.Strict(), exclusive.Handover(0))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.told(), v.told())
		}
	})
	eventually(t, "a is to give up half", func() bool { return len(w.now().Lost) == 4 })
	lost := w.now()
	require.Len(t, lost.Partitions, 4)
	owner, is := exclusive.Owner(b.Scope, "worker", 8, lost.Lost[0], exclusive.Strict())
	require.True(t, is)
	require.Equal(t, "a", owner.Name())
	for i, p := range lost.Lost {
		term := lost.Term(p)
		require.Same(t, all.Term(p), term)
		<-term.Leaving()
		require.NoError(t, term.Context().Err(), "it may finish")
		require.Len(t, v.now().Partitions, i)
		require.NoError(t, term.Resign(soon(t)))
		eventually(t, "b has it", func() bool { return slices.Contains(v.now().Partitions, p) })
		require.Greater(t, v.now().Term(p).Token(), term.Token())
	}
	require.True(t, whole(8, w, v))

	require.NoError(t, b.RemoveRoles(soon(t), "worker")) // it gives all up at once: Handover(0)
	eventually(t, "a has all again", func() bool { return whole(8, w) })
	require.Empty(t, v.now().Partitions)

	require.NoError(t, b.AddRoles(soon(t), "worker"))
	eventually(t, "a is to give up half again", func() bool { return len(w.now().Partitions) == 4 })
	for _, p := range w.now().Lost {
		require.NoError(t, w.now().Term(p).Resign(soon(t)))
	}
	eventually(t, "b has the others", func() bool { return whole(8, w, v) })

	left := w.now() // whoever leaves in good order waits until all is handed over
	gone := make(chan error, 1)
	go func() { gone <- a.Shutdown(soon(t)) }()
	eventually(t, "a is to give up all", func() bool { return len(w.now().Partitions) == 0 })
	for _, p := range left.Partitions {
		require.NoError(t, context.Cause(left.Term(p).Context()))
		select {
		case err := <-gone:
			t.Fatal("it is gone, and has not handed over all:", err)
		default:
		}
		require.NoError(t, left.Term(p).Resign(soon(t)))
		eventually(t, "b has it", func() bool { return slices.Contains(v.now().Partitions, p) })
	}
	require.NoError(t, <-gone)
	eventually(t, "b has all", func() bool { return whole(8, v) })
	requireSteps(t, w)
	requireSteps(t, v)
}

// Who breaks out of the loop gives all up, and leaves nothing behind.
func TestStrictPartitionsAreGivenUpByABreak(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithTTL(lasting), rolebus.WithRoles("worker"))
	freePartitions(t, a, 20)
	var terms []*exclusive.Term
	for got := range exclusive.Partitions(soon(t), a.Scope, "worker", 20, exclusive.Strict()) {
		for _, p := range got.Gained {
			terms = append(terms, got.Term(p))
		}
		if len(got.Partitions) == 20 {
			break
		}
	}
	require.Len(t, terms, 20)
	for _, term := range terms {
		require.ErrorIs(t, context.Cause(term.Context()), exclusive.ErrResigned)
	}
	for p := range 20 {
		_, is := exclusive.Owner(a.Scope, "worker", 20, p, exclusive.Strict())
		require.False(t, is)
	}
	for got := range exclusive.Partitions(soon(t), a.Scope, "worker", 20, exclusive.Strict()) {
		if len(got.Partitions) == 20 {
			break
		}
	}
}

func TestPartitionsRefuseWhatCannotBe(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	s := join(t, srv).Scope
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			text, _ := recover().(string)
			require.True(t, strings.HasPrefix(text, "rolebus: "), text)
			require.Contains(t, text, what)
			require.Equal(t, 1, strings.Count(text, "rolebus: "), text)
		}()
		f()
		t.Error("it did not panic")
	}
	ask := func(s *rolebus.Scope, role rolebus.Role, n int, opts ...exclusive.Option) func() {
		return func() { exclusive.Partitions(t.Context(), s, role, n, opts...) }
	}
	var none context.Context
	panics("0 partitions", ask(s, "worker", 0))
	panics("65537 partitions", ask(s, "worker", 65537))
	panics("8193 partitions", ask(s, "worker", 8193, exclusive.Strict()))
	panics("bad name", ask(s, "", 1))
	panics("nil context", func() { exclusive.Partitions(none, s, "worker", 1) })
	panics("not made", ask(nil, "worker", 1))
	panics("not made", ask(&rolebus.Scope{}, "worker", 1))
	panics("seats is for campaigns only", ask(s, "worker", 1, exclusive.Seats(2)))
	panics("among is for campaigns only", ask(s, "worker", 1, exclusive.Among("x")))
	panics("handover is for strict partitions only", ask(s, "worker", 1, exclusive.Handover(time.Second)))
	panics("handover of -1s", ask(s, "worker", 1, exclusive.Strict(), exclusive.Handover(-time.Second)))
	panics("key is empty", ask(s, "worker", 1, exclusive.Weight("")))
	panics("option 1 is nil", ask(s, "worker", 1, nil))
	panics("hook 1 is nil", ask(s, "worker", 1, exclusive.WithHooks(nil)))
	panics("hook 1 is nil", ask(s, "worker", 1, exclusive.Strict(), exclusive.WithHooks(nil)))
	panics("partition 3: from 0 to 2", func() { exclusive.Owner(s, "worker", 3, 3) })
	_, err := exclusive.Campaign(soon(t), s, "x", exclusive.Strict())
	require.ErrorContains(t, err, "strict is for partitions only")

	_, is := exclusive.Owner(s, "nobody's", 3, 1)
	require.False(t, is)
	for _, strict := range [][]exclusive.Option{nil, {exclusive.Strict()}} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for a := range exclusive.Partitions(ctx, s, "nobody's", 3, strict...) {
			require.Empty(t, a.Partitions)
			require.Nil(t, a.Term(1))
			cancel()
		}
	}
	long := rolebus.Role(strings.Repeat("ö", 2000)) // longer than a key may be
	require.NoError(t, s.AddRoles(soon(t), long))
	for a := range exclusive.Partitions(soon(t), s, long, 3, exclusive.Strict()) {
		if len(a.Partitions) == 3 {
			break
		}
	}
}
