//go:build linux

package chaos_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/children"
)

// nodeConfig is what a node process is told.
type nodeConfig struct {
	URLs     string
	Node     string
	Number   int // of this life
	Bucket   string
	Scopes   []string // the first is the default one
	Roles    []string // in the default one
	Observer bool
}

// order is what a process is told to do.
type order struct {
	Call    int
	Op      string
	Scope   string
	Roles   []string
	Timeout time.Duration
	Limit   int64
}

const (
	ttl          = 3 * time.Second
	syncInterval = 500 * time.Millisecond

	connectTimeout = 5 * time.Minute
	tick           = 50 * time.Millisecond
	stallNoted     = 200 * time.Millisecond
)

// nodeProcess is a node, or an observer, in its own process.
type nodeProcess struct {
	cfg  nodeConfig
	bus  *rolebus.Bus
	said chan record
	nc   atomic.Pointer[nats.Conn]
	jobs atomic.Uint64  // that were called for
	done sync.WaitGroup // the teller
}

// runNode is the main function of a node process.
func runNode(in *bufio.Reader) error {
	n := &nodeProcess{said: make(chan record, 1<<14)} // who sees must never wait for who tells
	if err := children.ReadLine(in, &n.cfg); err != nil {
		return err
	}
	n.done.Go(n.tell)
	go n.feelStalls()
	if err := n.connect(); err != nil {
		outcome := refused
		if errors.Is(err, rolebus.ErrSuperseded) {
			outcome = superseded // while it waited for the servers
		}
		n.say(record{Kind: ended, Outcome: outcome, Text: err.Error()})
		n.finish(2)
	}
	n.say(record{Kind: joined})
	for _, scope := range n.cfg.Scopes {
		go n.watch(scope)
		go n.read(scope)
		go n.feelContact(scope)
		go n.feelLease(scope)
		if !n.cfg.Observer {
			n.serve(scope)
		}
		go n.callAll(scope, onceMethod)
		go n.callAll(scope, oftenMethod)
	}
	go func() {
		<-n.bus.Done()
		outcome, err := refused, n.bus.Err()
		switch {
		case errors.Is(err, rolebus.ErrSuperseded):
			outcome = superseded
		case errors.Is(err, rolebus.ErrClosed):
			outcome = closed
		}
		n.say(record{Kind: ended, Outcome: outcome, Text: err.Error()})
		if outcome != closed {
			n.finish(3)
		}
	}()
	queues := map[string]chan order{}
	for {
		var o order
		if err := children.ReadLine(in, &o); err != nil {
			os.Exit(0) // the controller is gone, or done
		}
		if o.Op == opClose {
			n.close(o)
		}
		if queues[o.Scope] == nil { // calls in one scope keep their order; questions are a queue of their own
			queue := make(chan order, 4096)
			queues[o.Scope] = queue
			go func() {
				for o := range queue {
					n.do(o)
				}
			}()
		}
		queues[o.Scope] <- o
	}
}

func (n *nodeProcess) connect() error {
	online := func(nc *nats.Conn) {
		n.nc.Store(nc)
		n.say(record{Kind: online, Server: nc.ConnectedServerName()})
	}
	opts := []rolebus.Option{
		rolebus.WithNode(n.cfg.Node), rolebus.WithBucket(n.cfg.Bucket), rolebus.WithDefaultScope(n.cfg.Scopes[0]),
		rolebus.WithTTL(ttl), rolebus.WithSyncInterval(syncInterval), rolebus.WithReplicas(3),
		rolebus.WithNATS(
			nats.ConnectHandler(online), nats.ReconnectHandler(online),
			nats.DisconnectErrHandler(func(*nats.Conn, error) { n.say(record{Kind: offline}) }),
		),
	}
	if n.cfg.Observer {
		opts = append(opts, rolebus.WithObserver(), rolebus.WithScopes(n.cfg.Scopes...))
	} else {
		opts = append(opts, rolebus.WithRoles(roles(n.cfg.Roles)...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	var err error
	n.bus, err = rolebus.Connect(ctx, n.cfg.URLs, opts...)
	return err
}

func roles(names []string) []rolebus.Role {
	var out []rolebus.Role
	for _, name := range names {
		out = append(out, rolebus.Role(name))
	}
	return out
}

func names(roles []rolebus.Role) []string {
	out := []string{}
	for _, role := range roles {
		out = append(out, string(role))
	}
	return out
}

func (n *nodeProcess) say(r record) {
	r.At = now()
	n.said <- r
}

// tell writes the records to the controller.
func (n *nodeProcess) tell() {
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	encoder := json.NewEncoder(out)
	for r := range n.said {
		if r.Kind == "" {
			break
		}
		_ = encoder.Encode(r) // without a controller there is nobody to tell
		if len(n.said) == 0 {
			_ = out.Flush()
		}
	}
	_ = out.Flush()
}

// finish ends the process after everything was told.
func (n *nodeProcess) finish(code int) {
	n.said <- record{}
	n.done.Wait()
	os.Exit(code)
}

func (n *nodeProcess) close(o order) {
	began := now()
	err := n.bus.Close()
	outcome, text := outcomeOf(err)
	n.say(record{Kind: returned, Call: o.Call, Op: o.Op, Outcome: outcome, Text: text, Began: began})
	n.finish(0)
}

func (n *nodeProcess) do(o order) {
	began := now()
	switch o.Op {
	case opDump:
		n.say(record{Kind: answered, Call: o.Call, Dump: n.dump()})
		return
	case opCall:
		n.say(record{Kind: answered, Call: o.Call, Text: n.callEach(o.Timeout)})
		return
	case opStats:
		st := measure()
		if nc := n.nc.Load(); nc != nil {
			st.Subscriptions = nc.NumSubscriptions()
		}
		n.say(record{Kind: answered, Call: o.Call, Stats: st})
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	var err error
	switch o.Op {
	case opSet:
		err = n.bus.In(o.Scope).SetRoles(ctx, roles(o.Roles)...)
	case opLeave:
		err = n.bus.Leave(ctx, o.Scope)
	}
	outcome, text := outcomeOf(err)
	if o.Op == opLeave && outcome == refused && !errors.Is(err, rolebus.ErrNotJoined) && !n.bus.In(o.Scope).Snapshot().Joined() {
		outcome = unconfirmed // it has left, and not everything went as it should
	}
	n.say(record{Kind: returned, Call: o.Call, Op: o.Op, Scope: o.Scope, Outcome: outcome, Text: text, Began: began})
}

func outcomeOf(err error) (outcome, text string) {
	switch {
	case err == nil:
		return ok, ""
	case errors.Is(err, rolebus.ErrNotConfirmed):
		return unconfirmed, err.Error()
	}
	return refused, err.Error()
}

func (n *nodeProcess) dump() *dump {
	d := &dump{Scopes: map[string]map[string]view{}}
	for _, scope := range n.cfg.Scopes {
		snap := n.bus.In(scope).Snapshot()
		d.Stale = d.Stale || snap.Stale() > 0
		seen := map[string]view{}
		for node := range snap.AllNodes().All() {
			seen[node.Name()] = view{Life: node.Incarnation(), Roles: names(node.Roles().Slice())}
		}
		d.Scopes[scope] = seen
	}
	return d
}

// watch tells what the process sees in a scope, as often as it joins it.
func (n *nodeProcess) watch(scope string) {
	for n.bus.Err() == nil {
		last, anew := map[string]*rolebus.Node{}, true
		for ev := range n.bus.In(scope).Watch(context.Background()) {
			if anew {
				n.say(record{Kind: rewatch, Scope: scope})
				anew = false
			}
			name := ev.Node.Name()
			switch {
			case ev.Kind == rolebus.NodeLeft:
				delete(last, name)
				n.say(record{Kind: misses, Scope: scope, Node: name, Life: ev.Node.Incarnation(), Reason: ev.Reason.String()})
			case ev.Reason == 0 && last[name] != ev.Node: // not a role of one that goes; and each state once
				last[name] = ev.Node
				n.say(record{Kind: sees, Scope: scope, Node: name, Life: ev.Node.Incarnation(), Roles: names(ev.Node.Roles().Slice())})
			}
		}
		select {
		case <-n.bus.Done():
		case <-time.After(tick / 5): // it has left, or is about to stop
		}
	}
}

// read asks snapshots what their users ask, and says if the answers do not fit each other.
func (n *nodeProcess) read(scope string) {
	s := n.bus.In(scope)
	for range time.Tick(2 * tick) {
		began := time.Now()
		complaint := unsound(s.Snapshot(), scope)
		if took := time.Since(began); complaint != "" {
			n.say(record{Kind: broken, Scope: scope, Text: fmt.Sprintf("a snapshot (read in %v) %s", took, complaint)})
			return
		}
	}
}

func unsound(snap *rolebus.Snapshot, scope string) string {
	all := snap.AllNodes().Slice()
	byName := func(a, b *rolebus.Node) int { return strings.Compare(a.Name(), b.Name()) }
	if !slices.IsSortedFunc(all, byName) {
		return "is not sorted"
	}
	holders := map[rolebus.Role]int{}
	for _, node := range all {
		if !slices.Equal(node.Roles().Slice(), snap.Roles(node.Name()).Slice()) {
			return "has two opinions of " + node.Name()
		}
		for role := range node.Roles().All() {
			holders[role]++
			if snap.Nodes(role).Find(node.Name()) != node {
				return fmt.Sprintf("does not find %s by its role %s", node.Name(), role)
			}
			if !strings.HasPrefix(string(role), scope+"/") {
				return fmt.Sprintf("shows role %s of another scope", role)
			}
		}
	}
	for role, count := range holders {
		if snap.Nodes(role).Len() != count {
			return fmt.Sprintf("finds %d nodes with role %s, of %d", snap.Nodes(role).Len(), role, count)
		}
	}
	return ""
}

// feelContact tells when the bus says that it has lost contact with the bucket, and when it has it again: it explains
// much, and excuses only others, see checkLoss.
func (n *nodeProcess) feelContact(scope string) {
	had := true
	for range time.Tick(tick / 10) {
		if has := n.bus.In(scope).Snapshot().Stale() == 0; has != had {
			had = has
			n.say(record{Kind: doubting, Scope: scope, Text: map[bool]string{true: "no more", false: "since now"}[has]})
		}
	}
}

// feelLease tells when the bus says that this node is certain to be listed, and when not any more.
func (n *nodeProcess) feelLease(scope string) {
	was, last := false, instant(0)
	for range time.Tick(tick / 5) {
		asked := now()
		is := n.bus.In(scope).LeaseLeft() > 0
		if is != was {
			was = is
			n.say(record{Kind: certain, Scope: scope, Began: last, Text: map[bool]string{true: "since now", false: "no more"}[is]})
		}
		if is {
			last = asked
		}
	}
}

// feelStalls tells when this process did not run: it was frozen, or the machine had no time for it.
func (n *nodeProcess) feelStalls() {
	for last := now(); ; {
		time.Sleep(tick)
		woke := now()
		if woke.since(last) > stallNoted {
			n.said <- record{Kind: stalled, At: woke, Began: last}
		}
		last = woke
	}
}
