package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/rolebus/rolebus"
)

// call is one call, with all its attempts:
//
//	choose a node -> attempt -> an output, or what a handler returned: the end
//	  ^  waits, if so asked      \ did not run, or may have run and is idempotent -> as many attempts as may be? the end
//	  '----------------------------------------------- backoff <----------------------'
type call struct {
	key      string
	fixed    *rolebus.Node // CallNode: the only one
	given    bool          // there must be one
	made     int           // attempts
	attempts []Attempt     // those that failed
	failed   []life        // the lives that did
	last     Attempt       // the one that ended last
}

// call returns the output, or why there is none.
func (c *caller) call(ctx context.Context, call *call, data []byte) ([]byte, error) {
	req := c.request
	req.data = data
	for {
		n, err := c.next(ctx, call)
		if err != nil {
			return nil, err
		}
		var out outcome
		if c.opts.hedge > 0 {
			out = c.hedged(ctx, call, n, req)
		} else {
			out = c.once(ctx, call, n, &req, AttemptInfo{})
		}
		if out.err == nil {
			return out.data, nil
		}
		if more, why := c.again(ctx, call, out); why != nil && !errors.Is(out.err, why) {
			return nil, fmt.Errorf("%w: %w", out.err, why)
		} else if !more {
			return nil, out.err
		}
	}
}

// next returns the node for the next attempt.
func (c *caller) next(ctx context.Context, call *call) (n *rolebus.Node, err error) {
	wait := c.opts.retry > 0
	if c.opts.wait != nil {
		wait = *c.opts.wait
	}
	err = c.await(ctx, wait && call.fixed == nil, func(snap *rolebus.Snapshot) (err error) {
		if n = call.fixed; n != nil {
			return c.client.gone(snap, n)
		}
		n, err = c.chooser.choose(snap, call.failed, call.key)
		return err
	})
	return n, err
}

// await looks for whom to ask in the newest snapshot, and, if asked to wait, in each that follows until there is somebody.
func (c *caller) await(ctx context.Context, wait bool, look func(*rolebus.Snapshot) error) error {
	for {
		snap := c.scope.Snapshot()
		switch {
		case c.client.bus.Context().Err() != nil:
			return c.client.stopped(rolebus.ErrClosed)
		case ctx.Err() != nil:
			return over(ctx)
		case !snap.Joined():
			return rolebus.ErrNotJoined
		}
		err := look(snap)
		if !wait || !errors.Is(err, ErrNoNode) {
			return err
		}
		var again <-chan time.Time
		if c.opts.namesFunc != nil { // what it returns may change by itself
			again = time.After(lookAgain)
		}
		select {
		case <-snap.Superseded():
		case <-again:
		case <-ctx.Done():
			return because(err, "%w", over(ctx))
		case <-c.client.bus.Context().Done():
			return c.client.stopped(rolebus.ErrClosed)
		}
	}
}

// lookAgain is how often a function of [NodesFunc] is asked while no node is there.
const lookAgain = 100 * time.Millisecond

// once makes one attempt, and tells of it.
func (c *caller) once(ctx context.Context, call *call, n *rolebus.Node, req *request, kind AttemptInfo) outcome {
	call.made++
	began := time.Now()
	out := c.client.attempt(ctx, n, req)
	c.note(ctx, call, Attempt{Node: n, Began: began, Took: time.Since(began), Ran: out.ran, Err: out.err}, call.made, kind)
	return out
}

// note takes in an attempt that has ended.
func (c *caller) note(ctx context.Context, call *call, a Attempt, number int, kind AttemptInfo) {
	call.last = a
	c.tell(a, number, kind)
	if a.Err == nil {
		return
	}
	call.attempts = append(call.attempts, a)
	if errors.Is(a.Err, errEnough) {
		return // which is no failure
	}
	var remote *RemoteError
	if errors.As(a.Err, &remote) {
		return // its handler's error says nothing of the node
	}
	id := lifeIn(a.Node)
	call.failed = append(call.failed, id)
	if c.opts.sticky && !everywhere(a.Err) && !errors.Is(ctx.Err(), context.Canceled) { // else it says nothing of the node
		c.chooser.unstick(id)
	}
	if c.log.Enabled(ctx, slog.LevelWarn) {
		c.log.Warn("attempt failed", "attempt", number, "of", c.most(call, kind), "callee", id.name, "incarnation", id.incarnation, "took", a.Took,
			"ran", a.Ran.String(), "error", discreet(a.Err))
	}
}

// tell tells hooks of an attempt that has ended.
func (c *caller) tell(a Attempt, number int, kind AttemptInfo) {
	if c.hooks == nil {
		return
	}
	kind.Scope, kind.Role, kind.Method, kind.Number = c.scope.Name(), c.role, c.method, number
	kind.Node, kind.Took, kind.Ran, kind.Err = a.Node, a.Took, a.Ran, a.Err
	c.hooks.tellAttempt(kind)
}

// most is how many attempts a call may make.
func (c *caller) most(call *call, kind AttemptInfo) int {
	switch {
	case kind.OfAll || kind.NoReply:
		return 1
	case c.opts.hedge > 0 && call.fixed == nil:
		return max(2, c.opts.retry+1)
	}
	return c.opts.retry + 1
}

// again says whether a call that failed may be tried once more, and waits until it is time; the error says why there is none left.
func (c *caller) again(ctx context.Context, call *call, out outcome) (bool, error) {
	if call.made >= c.opts.retry+1 || out.ran == RanYes || out.ran == RanMaybe && !c.opts.idempotent || everywhere(out.err) {
		return false, nil
	}
	if !c.wait(ctx, call) {
		if ctx.Err() != nil {
			return false, over(ctx)
		}
		return false, c.client.stopped(rolebus.ErrClosed)
	}
	return true, nil
}

// everywhere says whether it would have been the same on any node.
func everywhere(err error) bool {
	return errors.Is(err, ErrTooLarge) || errors.Is(err, ErrEncode) || errors.Is(err, ErrDecode) || errors.Is(err, ErrContentType)
}

// The backoff, if none was chosen: nothing while there is somebody else to ask.
const (
	leastBackoff = 10 * time.Millisecond
	mostBackoff  = time.Second
)

// wait waits until it is time for the next attempt; false if there is none, because ctx is over or the Bus stops.
func (c *caller) wait(ctx context.Context, call *call) bool {
	if ctx.Err() != nil || c.client.bus.Context().Err() != nil {
		return false
	}
	least, most := leastBackoff, mostBackoff
	if b := c.opts.backoff; b != nil {
		least, most = b[0], b[1]
	} else if call.fixed == nil && c.chooser.others(call.failed) {
		return true
	}
	d := least
	for range call.made - 1 {
		if d = min(max(2*d, time.Millisecond), most); d == most {
			break
		}
	}
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-c.client.bus.Context().Done():
	}
	return false
}

// hedged makes an attempt, and a second one elsewhere if the first takes long. The first answer counts.
func (c *caller) hedged(ctx context.Context, call *call, n *rolebus.Node, req request) outcome {
	type ended struct {
		Attempt
		outcome
		number int
		kind   AttemptInfo
	}
	racing, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make(chan ended, 2)
	underWay := 0
	start := func(n *rolebus.Node, kind AttemptInfo) {
		call.made++
		underWay++
		number := call.made
		go func() { // joined below
			began, out := time.Now(), notRun(errInject)
			defer func() {
				results <- ended{Attempt{Node: n, Began: began, Took: time.Since(began), Ran: out.ran, Err: out.err}, out, number, kind}
			}()
			out = c.client.attempt(racing, n, &req)
		}()
	}
	start(n, AttemptInfo{})
	timer := time.NewTimer(c.opts.hedge)
	defer timer.Stop()
	second := timer.C
	var final outcome
	for won := false; underWay > 0; {
		select {
		case <-second:
			second = nil
			if call.made < c.most(call, AttemptInfo{}) && call.fixed == nil {
				also := append(call.failed[:len(call.failed):len(call.failed)], lifeIn(n))
				if other, err := c.chooser.choose(c.scope.Snapshot(), also, call.key); err == nil && lifeIn(other) != lifeIn(n) {
					start(other, AttemptInfo{Hedge: true})
				}
			}
		case r := <-results:
			underWay--
			if won { // and this one was cancelled
				c.tell(r.Attempt, r.number, r.kind)
				continue
			}
			c.note(ctx, call, r.Attempt, r.number, r.kind)
			final = r.outcome
			if won = r.Attempt.Ran == RanYes; won {
				second = nil
				cancel(errLost)
			}
		}
	}
	return final
}

// errLost is why the slower one of two attempts was cancelled.
var errLost = errors.New(prefix + "another node was quicker")
