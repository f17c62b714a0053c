//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
)

// The two methods that every node has in every scope.
const (
	onceMethod  = "once"
	oftenMethod = "often" // it is idempotent
)

const (
	callEvery   = 200 * time.Millisecond // in each scope, by each process, of each method
	callTimeout = time.Second            // of an attempt
	longestJob  = 50 * time.Millisecond
)

// job is what is to be done, and done is by which process it was, and where.
type job struct {
	ID    uint64 // none is used twice, by nobody
	Takes time.Duration
}

type done struct {
	ID    uint64
	Proc  int
	Scope string
}

// serve has this node do jobs in a scope, whenever it is in it.
func (n *nodeProcess) serve(scope string) {
	for _, method := range []string{onceMethod, oftenMethod} {
		_, err := call.Handle(n.bus.In(scope), method, func(ctx context.Context, j job) (done, error) {
			n.say(record{Kind: ran, Op: method, Scope: scope, Job: j.ID})
			select {
			case <-time.After(j.Takes):
				return done{j.ID, n.cfg.Number, scope}, nil
			case <-ctx.Done():
				return done{}, ctx.Err()
			}
		})
		if err != nil && !errors.Is(err, rolebus.ErrClosed) { // superseded already
			n.say(record{Kind: broken, Scope: scope, Text: "cannot serve: " + err.Error()})
		}
	}
}

// callAll calls one method in a scope all the time, by one role after another.
func (n *nodeProcess) callAll(scope, method string) {
	var chosen *rolebus.Node // by the attempt before the last one
	opts := []call.Option{call.Timeout(callTimeout), call.Retry(3), call.Choose(func(ns rolebus.Nodes) *rolebus.Node {
		chosen = ns.Pick()
		return chosen
	})}
	if method == oftenMethod {
		opts = append(opts, call.Idempotent(), call.Retry(10))
	}
	var methods []*call.Method[job, done]
	for i := range rolePool {
		m, err := call.New[job, done](n.bus.In(scope), rolebus.Role(fmt.Sprintf("%s/work-%d", scope, i)), method, opts...)
		if err != nil {
			n.say(record{Kind: broken, Scope: scope, Text: "cannot call: " + err.Error()})
			return
		}
		methods = append(methods, m)
	}
	for n.bus.Err() == nil {
		select {
		case <-time.After(callEvery/2 + rand.N(callEvery)):
		case <-n.bus.Done():
		}
		chosen = nil
		within := []time.Duration{50 * time.Millisecond, callTimeout, 5 * time.Second}[rand.IntN(3)]
		j := job{uint64(n.cfg.Number)<<32 | n.jobs.Add(1), rand.N(longestJob)}
		began := now()
		ctx, cancel := context.WithTimeout(context.Background(), within)
		answer, err := methods[rand.IntN(len(methods))].Call(ctx, j)
		cancel()
		r := record{Kind: called, Op: method, Scope: scope, Job: j.ID, Began: began, Within: within, Answer: answer}
		if chosen != nil {
			r.Node, r.Life = chosen.Name(), chosen.Incarnation()
		}
		r.Outcome, r.Text, r.Reason = callOutcome(err)
		n.say(r)
	}
}

// callOutcome says how a call ended, and what its error claims.
func callOutcome(err error) (outcome, text, claim string) {
	if err == nil {
		return ok, "", ""
	}
	var failed *call.CallError
	if errors.As(err, &failed) && !failed.MayHaveRun() {
		claim = notRun
	}
	for _, known := range []error{
		call.ErrNoNode, call.ErrUnreachable, call.ErrTimeout, call.ErrBusy, call.ErrDraining, call.ErrNoMethod,
		context.DeadlineExceeded, rolebus.ErrClosed, rolebus.ErrNotJoined, rolebus.ErrSuperseded,
	} {
		if errors.Is(err, known) {
			return refused, err.Error(), claim
		}
	}
	return unnamed, err.Error(), claim
}

// callEach calls every node that this process sees, in every scope, and says what failed.
func (n *nodeProcess) callEach(timeout time.Duration) (complaints string) {
	for _, scope := range n.cfg.Scopes {
		m, err := call.New[job, done](n.bus.In(scope), rolebus.Role(scope+"/any"), onceMethod, call.Timeout(timeout))
		if err != nil {
			return err.Error()
		}
		for node := range n.bus.In(scope).AllNodes().All() {
			j := job{ID: uint64(n.cfg.Number)<<32 | n.jobs.Add(1)}
			began := now()
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			answer, err := m.CallNode(ctx, node, j)
			cancel()
			r := record{Kind: called, Op: onceMethod, Scope: scope, Job: j.ID, Began: began, Within: timeout, Answer: answer,
				Node: node.Name(), Life: node.Incarnation()}
			if r.Outcome, r.Text, r.Reason = callOutcome(err); err != nil {
				complaints += fmt.Sprintf("%s in %s: %v; ", node.Name(), scope, err)
			}
			n.say(r)
		}
	}
	return complaints
}
