package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rolebus/rolebus/internal/found"
	"github.com/rolebus/rolebus/internal/hook"
)

// Poll makes a strategy of a function that is called again and again and returns the addresses that there are, or why they cannot be
// learnt; with both, the list lacks something. A list that is nil or empty without an error lists nothing: see [ReasonEmpty].
//
// Options: [Interval], [Timeout], [MaxBackoff], [Port], [Scheme], [Routes], [Cluster], [TLSName], and those for all. The function's ctx is
// over after Timeout. If it does not return then, the lookup has failed, and no other begins before it does. A panic is a failure.
// The name is for logs and hooks.
func Poll(name string, lookup func(ctx context.Context) ([]Address, error), opts ...Option) Strategy {
	o := collect(opts, forPolls, forShape)
	var wrong error
	if lookup == nil {
		wrong = errors.New("the function is nil")
	}
	return made("Poll", name, o, o.polling(func(ctx context.Context) []answer {
		addresses, err := lookup(ctx)
		all := make([]Address, len(addresses)) // what came may be read by others
		for i, a := range addresses {
			all[i] = o.complete(a)
		}
		return []answer{{addresses: all, err: err}}
	}), wrong, o.shapeErr())
}

// answer is what one of a strategy's sources said. Each keeps its own last good list.
type answer struct {
	of        string // which source
	addresses []Address
	err       error         // why there are no addresses, or what these lack
	beside    error         // what went wrong, and says nothing about the addresses
	again     time.Duration // ask sooner than usual; 0: as usual

	// unfinished says that the list is still being made: what it lacks is no failure, and stays.
	unfinished bool
}

var (
	errUnfinished = errors.New("not finished yet")
	errTooLate    = &Failure{Reason: ReasonTimeout, Err: errors.New("the lookup went on after its time was over")}
)

const (
	firstRetry   = 100 * time.Millisecond // while nothing was ever found
	longestPause = time.Hour              // that a source may ask for
)

// polling asks all the sources, again and again.
func (o *options) polling(lookup func(ctx context.Context) []answer) func(ctx context.Context, t *teller) error {
	return func(ctx context.Context, t *teller) error {
		p := &poller{o: o, t: t, lookup: lookup, kept: map[string]*found.Kept[Address]{}}
		for {
			began := time.Now()
			wait := about(p.poll(ctx))
			if ctx.Err() != nil {
				return ctx.Err() // or chance would have it ask once more
			}
			// From one lookup's beginning to the next one's; a slow source is left in peace half of the time.
			timer := time.NewTimer(max(wait-time.Since(began), wait/2))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
	}
}

// about is a duration with a tenth of it more or less.
func about(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

type poller struct {
	o      *options
	t      *teller
	lookup func(ctx context.Context) []answer
	kept   map[string]*found.Kept[Address] // of each source
	order  []string
	fails  int // in a row, of all sources
	ever   bool
}

// poll asks once, tells, and returns when to ask again.
func (p *poller) poll(ctx context.Context) time.Duration {
	began := time.Now()
	answers := p.ask(ctx)
	took := time.Since(began)
	if ctx.Err() != nil {
		return 0
	}
	if answers == nil {
		p.t.lookup(took, 0, errTooLate)
		return p.next(true, p.ever)
	}
	n, failed, soon, pause := 0, 0, time.Duration(0), time.Duration(0)
	var errs []error
	for _, a := range answers {
		var unusable error
		if a.addresses, unusable = usable(a.addresses); unusable != nil && len(a.addresses) == 0 && a.err == nil {
			a.err, unusable = unusable, nil
		}
		a.beside = join(unusable, a.beside)
		k := p.kept[a.of]
		if k == nil {
			k = &found.Kept[Address]{}
			p.kept[a.of] = k
			p.order = append(p.order, a.of)
		}
		n += len(a.addresses)
		err := a.err
		if a.unfinished && err == nil {
			err = errUnfinished
		}
		_, problem := k.Take(a.addresses, err)
		if problem != nil && problem != errUnfinished {
			errs = append(errs, problem)
		}
		if a.beside != nil {
			errs = append(errs, a.beside)
		}
		if a.err != nil && !answered(a.err) && len(a.addresses) == 0 {
			failed++
		}
		if a.again > 0 && (soon == 0 || a.again < soon) {
			soon = a.again
		}
		var asked *Failure
		if errors.As(a.err, &asked) {
			pause = max(pause, min(asked.RetryAfter, longestPause))
		}
	}
	err := join(errs...)
	p.t.lookup(took, n, err)
	var all []Address
	for _, of := range p.order {
		all = append(all, p.kept[of].List()...)
	}
	switch {
	case len(all) > 0 && n > 0:
		p.t.beside(all, err) // what is missing is in it: each source keeps its own
	case err != nil:
		p.t.failed(err)
	}
	next := p.next(failed > 0 && failed == len(answers), len(all) > 0)
	if soon > 0 {
		next = min(next, soon)
	}
	if pause > 0 {
		next = max(next, (took+pause)*9/8) // of which chance takes a tenth: not sooner than was asked for
	}
	return next
}

// next returns when to ask again.
func (p *poller) next(failed, any bool) time.Duration {
	p.ever = p.ever || any
	if !failed {
		p.fails = 0
		return p.o.interval
	}
	p.fails++
	first := p.o.interval
	if !p.ever {
		first = min(firstRetry, first)
	}
	return doubled(first, p.fails-1, p.o.backoff)
}

// doubled is a duration doubled so many times, but not beyond a limit, also where it would be too long for a Duration.
func doubled(d time.Duration, times int, most time.Duration) time.Duration {
	for range times {
		if d >= most/2 {
			return most
		}
		d *= 2
	}
	return min(d, most)
}

// ask calls the lookup, which has until the timeout. Without answers that it did not keep to that is told.
func (p *poller) ask(ctx context.Context) (answers []answer) {
	within, cancel := context.WithTimeoutCause(ctx, p.o.timeout, &Failure{
		Reason: ReasonTimeout, Err: fmt.Errorf("no answer within %v: %w", p.o.timeout, context.DeadlineExceeded),
	})
	defer cancel()
	done := make(chan []answer, 1)
	go func() { // ends with the lookup, which hears of the timeout
		got := []answer{{err: errors.New("the lookup ended its goroutine (runtime.Goexit)")}}
		defer func() {
			if fault := recover(); fault != nil {
				hook.Blame(p.t.log, "a lookup of discovery panicked", fault)
				got = []answer{{err: fmt.Errorf("the lookup panicked: %v", fault)}}
			}
			if got == nil {
				got = []answer{} // there are no sources
			}
			done <- got
		}()
		got = p.lookup(within)
	}()
	select {
	case answers = <-done:
	case <-within.Done():
		if ctx.Err() != nil {
			return p.last(done)
		}
		if answers = p.last(done); answers == nil {
			p.deaf(ctx, done, context.Cause(within))
			return nil
		}
	}
	for i, a := range answers {
		a.err = found.Tame(a.err)
		answers[i].err = a.err
		var told *Failure
		if errors.Is(a.err, context.DeadlineExceeded) && !errors.As(a.err, &told) && within.Err() != nil && ctx.Err() == nil {
			answers[i].err = errors.Join(context.Cause(within), a.err)
		}
	}
	return answers
}

// deaf tells of a lookup that does not end with its context, and waits until it does: one at a time. What it says then is too late.
func (p *poller) deaf(ctx context.Context, done chan []answer, timeout error) {
	p.t.failed(timeout)
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// last waits until a lookup has ended whose context is over, not for ever.
func (p *poller) last(done chan []answer) []answer {
	timer := time.NewTimer(found.Patience / 2)
	defer timer.Stop()
	select {
	case answers := <-done:
		return answers
	case <-timer.C:
		return nil
	}
}
