package discovery

import (
	"context"
	"errors"
	"time"
)

// Watch makes a strategy of a function that learns by itself when something changes, by a stream of changes or by requests that wait for one;
// for one that just asks again and again there is [Poll]. The function tells what it learns by w, until ctx is over. If it returns before,
// with nil, what it told last stays; with an error, it is called again after a while.
//
// Options: [Interval], [Timeout], [MaxBackoff], [Port], [Scheme], [Routes], [Cluster], [TLSName], and those for all. How often it asks, if at
// all, is up to the function: w has what the options say. The name is for logs and hooks, if [Name] gives no other.
func Watch(name string, watch func(ctx context.Context, w *Watching) error, opts ...Option) Strategy {
	o := collect(opts, forPolls, forShape)
	var wrong error
	if watch == nil {
		wrong = errors.New("the function is nil")
	}
	if name == "" {
		name = "Watch"
	}
	return made(name, "", o, func(ctx context.Context, t *teller) error {
		return watch(ctx, &Watching{o: o, t: t})
	}, wrong, o.shapeErr())
}

// Watching is by what the function of [Watch] tells what it learns. Its methods wait for nobody and may be called from any goroutine.
type Watching struct {
	o *options
	t *teller
}

// List tells all addresses that there are. What they lack, such as a port, the options give. An empty list lets nothing go, and is told as a
// failure of [ReasonEmpty].
func (w *Watching) List(addresses []Address) { w.t.list(w.complete(addresses)) }

// ListBeside tells all addresses that there are, as List, of a source of which something is wrong all the same that Fail has told, such as an
// entry that was left out: that one is not over, and so the log does not say that all is well.
func (w *Watching) ListBeside(addresses []Address) { w.t.amid(w.complete(addresses)) }

// Part tells addresses of a list that lacks something, or none, and why. It lets nothing go.
func (w *Watching) Part(addresses []Address, err error) { w.t.part(w.complete(addresses), err) }

// Fail tells what went wrong; best as a [Failure]. It lets nothing go.
func (w *Watching) Fail(err error) { w.t.failed(err) }

// LookedUp tells that the source was asked: how long that took, how many addresses it has, and what went wrong. It says nothing about the
// addresses.
func (w *Watching) LookedUp(took time.Duration, addresses int, err error) {
	w.t.lookup(took, addresses, err)
}

// Interval is what the option [Interval] says.
func (w *Watching) Interval() time.Duration { return w.o.interval }

// Timeout is what the option [Timeout] says.
func (w *Watching) Timeout() time.Duration { return w.o.timeout }

// MaxBackoff is what the option [MaxBackoff] says, at least Interval.
func (w *Watching) MaxBackoff() time.Duration { return w.o.backoff }

// Shape is what the options say of every address: [Port], [Scheme], [Routes], [Cluster] and [TLSName].
func (w *Watching) Shape() Address { return w.o.shape }

// Backoff is how long to wait after so many failures in a row, as strategies that ask do: Interval, doubled with each, up to MaxBackoff, while
// nothing was ever found from a tenth of a second on; and Interval after none. A tenth of it is added or taken off by chance.
func (w *Watching) Backoff(failures int) time.Duration {
	if failures <= 0 {
		return about(w.o.interval)
	}
	w.t.mu.Lock()
	ever := len(w.t.kept.List()) > 0
	w.t.mu.Unlock()
	first := w.o.interval
	if !ever {
		first = min(firstRetry, first)
	}
	return about(doubled(first, failures-1, w.o.backoff))
}

func (w *Watching) complete(addresses []Address) []Address {
	all := make([]Address, len(addresses))
	for i, a := range addresses {
		all[i] = w.o.complete(a)
	}
	return all
}

// Mistake says what is wrong with a strategy, so that whoever writes one needs to return no error beside it: all mistakes come in one, by
// [rolebus.Connect], before anything starts. For every strategy. Errors that are nil are none.
func Mistake(errs ...error) Option {
	return func(o *options) {
		for _, err := range errs {
			if err != nil {
				o.errs = append(o.errs, err)
			}
		}
	}
}
