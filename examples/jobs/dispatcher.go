package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
)

var (
	errRefused = errors.New("refused")       // by a worker that has enough to do
	errSlow    = errors.New("no answer yet") // for longer than a job takes
)

// dispatcher gives jobs to workers.
type dispatcher struct {
	bus *rolebus.Bus

	// hedge is how long to wait for an answer until one more worker is given the job, too: well above what a job takes, or all
	// work is done twice. It is for those that hang, whom nobody can tell from the slow for the first seconds.
	hedge time.Duration

	mu   sync.Mutex
	owes map[string]int // how many answers each life of a worker owes, by its subject
}

// pause is how long to wait before all are asked again, when nobody is there or all have refused.
const pause = 20 * time.Millisecond

// do has a job done: by one worker, and by one more each time that one fails, goes, or is slow. The first answer counts. It
// gives up only when ctx is over. It also returns why, each time, the job was given to one more.
//
// A job is done at least once. A worker that dies may have done it, and nobody knows; one that is slow may do it besides
// another one. Whoever needs more than that lets the store in which results end up refuse the second one, by the job's ID.
func (d *dispatcher) do(ctx context.Context, job Job) (Result, []error, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // nobody waits for the others
	answers := make(chan answer)
	var asked []string // the lives that were given the job
	var waiting int    // for so many of them
	var again []error
	for why := error(nil); ; {
		wait := d.hedge
		if n := d.pick(asked); n != nil {
			if asked, waiting = append(asked, subject(n)), waiting+1; why != nil {
				again = append(again, why)
			}
			go func() {
				select { // when it was asked: also if the job is done by then
				case answers <- d.ask(ctx, n, job):
				case <-ctx.Done():
				}
			}()
		} else if waiting == 0 {
			asked, wait = nil, pause
		}
		select {
		case a := <-answers:
			if a.err == nil {
				return a.Result, again, nil
			}
			waiting, why = waiting-1, a.err
		case <-time.After(wait):
			if waiting > 0 {
				why = errSlow
			}
		case <-ctx.Done():
			return Result{}, again, errors.Join(context.Cause(ctx), why)
		}
	}
}

// pick returns the worker that owes the fewest answers, of those that were not asked yet; nil if there is none. One that hangs
// owes ever more, so it is given no more long before it is known to hang.
func (d *dispatcher) pick(asked []string) *rolebus.Node {
	d.mu.Lock()
	defer d.mu.Unlock()
	others := d.bus.Nodes(worker).Filter(func(n *rolebus.Node) bool { return !slices.Contains(asked, subject(n)) }).Slice()
	if len(others) == 0 {
		return nil
	}
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] }) // of equals, not always the first
	n := slices.MinFunc(others, func(a, b *rolebus.Node) int { return d.owes[subject(a)] - d.owes[subject(b)] })
	d.owes[subject(n)]++
	return n
}

// paid takes note that a worker owes one answer less.
func (d *dispatcher) paid(n *rolebus.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owes[subject(n)]--; d.owes[subject(n)] == 0 {
		delete(d.owes, subject(n)) // nothing grows with lives seen
	}
}

// ask gives a job to a worker that was picked, and waits for its answer for as long as this life of it is listed. It goes on when
// the job is done by another one: until then this one owes an answer.
func (d *dispatcher) ask(ctx context.Context, n *rolebus.Node, job Job) (a answer) {
	defer d.paid(n)
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), patience) // an answer can be lost
	defer stop()
	ctx, cancel := d.bus.While(ctx, n)
	defer cancel()
	msg, err := d.bus.Conn().RequestWithContext(ctx, subject(n), encode(job)) // if nobody listens: nats.ErrNoResponders, at once
	switch {
	case err == nil:
		a.err = json.Unmarshal(msg.Data, &a.Result)
	case ctx.Err() != nil:
		a.err = context.Cause(ctx) // rolebus.ErrNodeGone, mostly
	default:
		a.err = err
	}
	if a.Refused != "" {
		a.err = errRefused
	}
	return a
}

type answer struct {
	Result
	err error
}
