package rolebus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// follower replays a watch and complains when an event does not follow on the ones before.
type follower struct {
	mu     sync.Mutex
	nodes  map[string]*Node
	roles  map[string]map[Role]bool
	missed map[string]bool
	lines  []string
	wrong  []string
	ended  bool
}

func follow(ctx context.Context, s *Scope, pause func() time.Duration) *follower {
	w := &follower{nodes: map[string]*Node{}, roles: map[string]map[Role]bool{}, missed: map[string]bool{}}
	go func() {
		for ev := range s.Watch(ctx) {
			w.see(ev)
			if d := pause(); d > 0 {
				time.Sleep(d)
			}
		}
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
	}()
	return w
}

func (w *follower) see(ev Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf("%v inc=%d", ev, ev.Node.Incarnation()))
	bad := func(format string, args ...any) {
		w.wrong = append(w.wrong, fmt.Sprintf("%v: ", ev)+fmt.Sprintf(format, args...))
	}
	name := ev.Node.Name()
	is := ev.Snapshot().Node(name)
	listed := w.nodes[name]
	switch ev.Kind {
	case NodeJoined:
		if listed != nil {
			bad("already listed")
		}
		if is != ev.Node {
			bad("not as in the snapshot")
		}
		delete(w.missed, name)
		w.nodes[name], w.roles[name] = ev.Node, map[Role]bool{}
	case NodeLeft:
		if listed == nil {
			bad("not listed")
		}
		if len(w.roles[name]) > 0 {
			bad("still has roles %v", w.roles[name])
		}
		if ev.Reason == 0 {
			bad("no reason")
		}
		if is != nil && is.Incarnation() == ev.Node.Incarnation() {
			bad("it is listed")
		}
		if ev.Reason == ReasonUnreachable {
			w.missed[name] = true
			if ev.Snapshot().Suspects().Find(name) == nil {
				bad("not suspected")
			}
		}
		delete(w.nodes, name)
		delete(w.roles, name)
	case NodeBuried:
		if !w.missed[name] {
			bad("was not missed")
		}
		if is != nil || ev.Snapshot().Suspects().Find(name) != nil {
			bad("is there")
		}
		delete(w.missed, name)
	case RoleAdded:
		if listed == nil || w.roles[name][ev.Role] {
			bad("not listed, or has it")
		} else {
			w.roles[name][ev.Role] = true
		}
		w.nodes[name] = ev.Node
	case RoleRemoved:
		if listed == nil || !w.roles[name][ev.Role] {
			bad("not listed, or has it not")
		} else {
			delete(w.roles[name], ev.Role)
		}
	case MetaChanged:
		if listed == nil || listed.Incarnation() != ev.Node.Incarnation() {
			bad("another life")
		}
		w.nodes[name] = ev.Node
	}
}

// check is called when everything has come to rest.
func (w *follower) check(t *testing.T, snap *Snapshot) {
	t.Helper()
	require.Empty(t, w.wrong, "%v", w.lines)
	if w.ended { // the scope was left meanwhile
		return
	}
	require.Len(t, w.nodes, snap.Members().Len())
	require.Len(t, w.missed, snap.Suspects().Len())
	for name, n := range w.nodes {
		is := snap.Node(name)
		require.NotNil(t, is)
		require.ElementsMatch(t, slices.Collect(maps.Keys(w.roles[name])), is.Roles().Slice(), name)
		require.True(t, maps.Equal(n.meta, is.meta))
	}
}

// upDown is a hook that keeps who is up.
type upDown struct {
	mu    sync.Mutex
	there map[string]map[string]uint64 // incarnations, by scope and node
	wrong []string
}

func (u *upDown) OnNodeUp(i NodeUpInfo) {
	u.mu.Lock()
	m := u.there[i.Scope]
	if m == nil {
		m = map[string]uint64{}
		u.there[i.Scope] = m
	}
	if m[i.Node.Name()] != 0 {
		u.wrong = append(u.wrong, "up twice "+i.Node.Name())
	}
	m[i.Node.Name()] = i.Node.Incarnation()
	u.mu.Unlock()
}

func (u *upDown) OnNodeDown(i NodeDownInfo) {
	u.mu.Lock()
	if u.there[i.Scope][i.Node.Name()] != i.Node.Incarnation() {
		u.wrong = append(u.wrong, "down, was not up "+i.Node.Name())
	}
	delete(u.there[i.Scope], i.Node.Name())
	u.mu.Unlock()
}

func (u *upDown) OnScopeLeft(i ScopeLeftInfo) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.there, i.Scope)
}

// Nodes are frozen, killed, replaced, leave and come back, servers stop and the bucket is wiped. Whoever follows it by a watch, however
// slow, by hooks, or by contexts of While, never hears what does not fit, and has in the end what the snapshot has.
func TestWhatIsFollowedFits(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { followWhatHappens(t, seed) })
		})
	}
}

func followWhatHappens(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	f, net := newFakeBucket(), newFakeNet()
	fleet := []string{"a", "b", "c", "d", "e", "f"}
	buses := map[string]*peeredBus{}
	frozen := map[string]bool{}
	var old []*peeredBus
	start := func(name string) {
		buses[name] = f.peered(t, net, "s1", name, WithProbeInterval(200*time.Millisecond), WithMeta(map[string]string{"n": "0"}), WithScopes("s"))
	}
	for _, n := range fleet {
		start(n)
	}
	hook := &upDown{there: map[string]map[string]uint64{}}
	o := f.peered(t, net, "s1", "o", WithObserver(), WithProbeInterval(200*time.Millisecond), WithHooks(hook), WithAllScopes())
	ctx := t.Context()
	var mu sync.Mutex
	prnd := rand.New(rand.NewPCG(seed, 8))
	slow := func(most time.Duration) func() time.Duration {
		return func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return time.Duration(prnd.Int64N(int64(most)))
		}
	}
	var ws []*follower
	for _, most := range []time.Duration{1, 50 * time.Millisecond, 3 * time.Second} {
		ws = append(ws, follow(ctx, o.Scope, slow(most)))
		ws = append(ws, follow(ctx, o.In("s"), slow(most)))
	}
	type guarded struct {
		ctx context.Context
		n   *Node
	}
	var gs []guarded
	for range 120 {
		name := fleet[rnd.IntN(len(fleet))]
		b := buses[name]
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		alive := b.Err() == nil && !frozen[name]
		scope := []string{"default", "s"}[rnd.IntN(2)]
		switch op := rnd.IntN(14); {
		case op < 3 && alive:
			_ = b.In(scope).ChangeRoles(short, []Role{Role(fmt.Sprint(rnd.IntN(4)))}, []Role{Role(fmt.Sprint(rnd.IntN(4)))})
		case op < 5 && alive:
			_ = b.SetMeta(short, map[string]string{"n": fmt.Sprint(rnd.IntN(3))})
		case op == 5 && alive && len(frozen) < 2:
			b.freeze()
			frozen[name] = true
		case op == 6 && frozen[name]:
			b.thaw()
			delete(frozen, name)
		case op == 7 && alive:
			b.crash()
			old = append(old, b)
		case op == 8 && !frozen[name]:
			old = append(old, b)
			start(name)
		case op == 9 && alive:
			go func() { _ = b.Shutdown(context.Background()) }()
		case op == 10 && rnd.IntN(4) == 0:
			f.stop()
			time.Sleep(time.Duration(rnd.Int64N(int64(5 * time.Second))))
			f.start()
		case op == 11 && rnd.IntN(4) == 0:
			f.wipe(rnd.IntN(2) == 0)
		case op == 12 && alive:
			if err := b.Leave(short, "s"); errors.Is(err, ErrNotJoined) {
				_, _ = b.Join(short, "s")
			}
		case op == 13:
			for n := range o.Snapshot().Members().All() {
				during, end := o.While(ctx, n)
				defer end()
				gs = append(gs, guarded{during, n})
			}
		}
		cancel()
		time.Sleep(time.Duration(rnd.Int64N(int64(3 * time.Second))))
	}
	for name := range frozen {
		buses[name].thaw()
	}
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	want := map[string]uint64{}
	for name, b := range buses {
		if b.Err() == nil {
			want[name] = b.Snapshot().Node(name).Incarnation()
		}
	}
	got := map[string]uint64{}
	for n := range o.Snapshot().Members().All() {
		got[n.Name()] = n.Incarnation()
	}
	require.Equal(t, want, got)
	for i, w := range ws {
		w.check(t, []*Scope{o.Scope, o.In("s")}[i%2].Snapshot())
	}
	for _, g := range gs {
		n := o.Snapshot().Node(g.n.Name())
		if n != nil && n.Incarnation() == g.n.Incarnation() {
			continue // it may have flapped
		}
		require.Error(t, g.ctx.Err())
		require.ErrorIs(t, context.Cause(g.ctx), ErrNodeGone)
	}
	require.Empty(t, hook.wrong)
	require.Equal(t, want, hook.there["default"])
	for _, b := range old {
		_ = b.Close()
	}
}
