package call

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
)

// Answer is what one node answered.
type Answer[Out any] struct {
	Node  *rolebus.Node // nil if nobody could be asked
	Value Out
	Err   error // as of [Method.Call]
	Took  time.Duration
}

// All asks each node that has the role, once, all at the same time, and yields each answer, or error, as it comes. Who has the role is what
// the newest snapshot says when the loop begins. [Retry], [Hedge] and what picks a node mean nothing here; [Nodes] and [NodesFunc] do,
// and [WaitForNode] if it was given: it waits for the first one.
//
// Leaving the loop early cancels the other calls; the loop has ended when nothing of them is left. If nobody could be asked it yields one
// answer without a node, whose error says why.
func (m *Method[In, Out]) All(ctx context.Context, in In) iter.Seq2[*rolebus.Node, Answer[Out]] {
	return func(yield func(*rolebus.Node, Answer[Out]) bool) {
		for answer := range m.answers(ctx, in) {
			if !yield(answer.Node, answer) {
				return
			}
		}
	}
}

// answers are those of All, each with its attempt.
func (m *Method[In, Out]) answers(ctx context.Context, in In) iter.Seq2[Answer[Out], Attempt] {
	return func(yield func(Answer[Out], Attempt) bool) {
		data, err := m.encode(ctx, in, &call{})
		if err != nil {
			yield(Answer[Out]{Err: m.c.failed(nil, err)}, Attempt{})
			return
		}
		for a := range m.c.all(ctx, data) {
			answer := Answer[Out]{Node: a.Node, Took: a.Took}
			if a.Err == nil {
				if answer.Value, a.Err = decode[Out](m.c.opts.codec, a.data); a.Err != nil {
					a.Ran = RanYes
				}
			}
			switch {
			case a.Err == nil:
			case a.Node == nil:
				answer.Err = m.c.failed(nil, a.Err)
			default:
				answer.Err = m.c.failed([]Attempt{a.Attempt}, a.Err)
			}
			if !yield(answer, a.Attempt) {
				return
			}
		}
	}
}

// First asks all nodes as [Method.All] does, and returns the first n answers that are no errors, as soon as there are so many; the other calls are
// cancelled. If there are fewer, it returns those, and a [*CallError] with all attempts, also those that were answered. It matches
// what the last attempt that failed matches; [ErrNoNode], if none failed and there are not so many nodes.
func (m *Method[In, Out]) First(ctx context.Context, n int, in In) ([]Answer[Out], error) {
	if n < 1 {
		return nil, m.c.failed(nil, fmt.Errorf("first %d answers: at least 1", n))
	}
	var answers []Answer[Out]
	var attempts []Attempt
	last := ErrNoNode
	for a, attempt := range m.answers(ctx, in) {
		if a.Node != nil {
			attempts = append(attempts, attempt)
		}
		if a.Err == nil {
			if answers = append(answers, a); len(answers) == n {
				return answers, nil
			}
			continue
		}
		last = errors.Unwrap(a.Err) // of the CallError: there is one for all
	}
	return answers, m.c.failed(attempts, fmt.Errorf("%d of %d answers: %w", len(answers), n, last))
}

// Notify tells one node, picked as [Method.Call] does it, and waits for no answer: nil says that the message was given to NATS, or to this
// process's own handler. It is sent once at the most, and what becomes of it, also that nobody listens, nobody is told. Its handler
// runs for 5 s at the most, whatever [Timeout] says.
func (m *Method[In, Out]) Notify(ctx context.Context, in In) error {
	call := call{}
	data, err := m.encode(ctx, in, &call)
	if err == nil {
		var n *rolebus.Node
		if n, err = m.c.next(ctx, &call); err == nil {
			err = m.c.notify(ctx, n, data, AttemptInfo{Number: 1})
		}
	}
	if err != nil {
		return m.c.failed(nil, err)
	}
	return nil
}

// NotifyAll is [Method.Notify] to each node that has the role. The error names each node to which it could not be sent.
func (m *Method[In, Out]) NotifyAll(ctx context.Context, in In) error {
	data, err := m.encode(ctx, in, &call{})
	var nodes rolebus.Nodes
	if err == nil {
		nodes, err = m.c.everybody(ctx)
	}
	if err != nil {
		return m.c.failed(nil, err)
	}
	var errs []error
	for n := range nodes.All() {
		if err := m.c.notify(ctx, n, data, AttemptInfo{Number: 1, OfAll: true}); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", clip(n.Name()), err))
		}
	}
	if len(errs) > 0 {
		return m.c.failed(nil, errors.Join(errs...))
	}
	return nil
}

// answered is an attempt of All that has ended.
type answered struct {
	Attempt
	data []byte
}

// everybody returns all nodes to ask. Nobody is picked: whose turn it is stays as it is.
func (c *caller) everybody(ctx context.Context) (nodes rolebus.Nodes, err error) {
	wait := c.opts.wait != nil && *c.opts.wait
	err = c.await(ctx, wait, func(snap *rolebus.Snapshot) (err error) {
		if nodes, err = c.chooser.candidates(snap); err == nil && nodes.Len() == 0 {
			err = ErrNoNode
		}
		return err
	})
	return nodes, err
}

func (c *caller) all(ctx context.Context, data []byte) iter.Seq[answered] {
	return func(yield func(answered) bool) {
		nodes, err := c.everybody(ctx)
		if err != nil {
			yield(answered{Attempt: Attempt{Err: err}})
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		var asking sync.WaitGroup
		defer asking.Wait()
		defer cancel(errEnough)
		req := c.request
		req.data = data
		results := make(chan answered, nodes.Len())
		for n := range nodes.All() {
			asking.Go(func() {
				call, out := call{last: Attempt{Node: n, Err: errInject}}, outcome{}
				defer func() { results <- answered{call.last, out.data} }()
				out = c.once(ctx, &call, n, &req, AttemptInfo{OfAll: true})
			})
		}
		for range nodes.Len() {
			if !yield(<-results) {
				return
			}
		}
	}
}

// errEnough is why the calls were cancelled whose answers nobody wanted any more.
var errEnough = errors.New(prefix + "enough answers")

func (c *caller) notify(ctx context.Context, n *rolebus.Node, data []byte, kind AttemptInfo) error {
	req := c.request
	req.data = data
	began := time.Now()
	far, _, err := c.client.reach(ctx, n, c.opts.timeout)
	if err == nil {
		err = c.client.send(ctx, &req, c.scope.Address(kindOfSubject, n, req.method), "", 0, far)
	}
	ran := RanMaybe
	if err != nil {
		ran = RanNo
	}
	kind.NoReply = true
	call := call{}
	c.note(ctx, &call, Attempt{Node: n, Began: began, Took: time.Since(began), Ran: ran, Err: err}, kind.Number, kind)
	return err
}
