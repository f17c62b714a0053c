package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rolebus/rolebus/internal/found"
)

// Transport is for those who bring their own way from one process to another, as by a tunnel, an overlay network or a sidecar: see
// [WithTransport]. Its methods are called by one goroutine, which nothing waits for but the start of this process's server, and that no longer than
// ten seconds; each is given a context that ends after five.
type Transport interface {
	// Connect opens a way to an end, a port of another process as that one says it is reached, and returns where it begins: what this process
	// connects to in its stead. It is called again if it fails, and for a way that List does not have any more.
	Connect(ctx context.Context, end End) (begin End, err error)
	// Disconnect closes a way that is not needed any more.
	Disconnect(ctx context.Context, end End) error
	// List returns the ends to which ways stand.
	List(ctx context.Context) ([]End, error)
}

// End is a host and a port.
type End struct {
	Host string
	Port int
}

// String returns it as host:port.
func (e End) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// WithTransport has this process reach others by ways that a program makes itself. There are two to each process, to its cluster port and, between
// members, to its route port. Clients are not concerned. For [Cluster].
func WithTransport(t Transport) Option {
	return clusterOption("WithTransport", func(c *clusterConfig) error {
		c.transport = t
		return check(t != nil, "transport: must not be nil")
	})
}

const (
	wayPatience = 5 * time.Second
	wayLook     = 5 * time.Second
	wayIdle     = time.Minute // a way to a cluster port that nobody was asked by
	wayStart    = 10 * time.Second
)

// ways are those of a Transport: what is wanted, and what stands. Without a Transport each end is its own way.
type ways struct {
	transport Transport // nil: none
	log       *slog.Logger
	wake      chan struct{}

	mu      sync.Mutex
	wanted  map[End]time.Time // until when; zero: for as long as it is among the routes
	stands  map[End]End
	changed chan struct{} // closed when stands is another
	failure error         // of the last look; nil if it went well
}

func newWays(t Transport, log *slog.Logger) *ways {
	return &ways{
		transport: t, log: log, wake: make(chan struct{}, 1), wanted: map[End]time.Time{}, stands: map[End]End{}, changed: make(chan struct{}),
	}
}

// run has ways stand until ctx is over, and then closes them.
func (w *ways) run(ctx context.Context) {
	if w.transport == nil {
		return
	}
	tick := time.NewTicker(wayLook)
	defer tick.Stop()
	var told found.Complaints
	for {
		w.look(ctx, &told)
		select {
		case <-tick.C:
		case <-w.wake:
		case <-ctx.Done():
			for _, end := range w.ends(func(End) bool { return true }) {
				if err := w.call(context.WithoutCancel(ctx), func(ctx context.Context) error { return w.transport.Disconnect(ctx, end) }); err != nil {
					w.log.Warn("a way is not closed", "end", end, "error", err)
				}
			}
			return
		}
	}
}

// look opens what is missing, and closes what is not wanted.
func (w *ways) look(ctx context.Context, told *found.Complaints) {
	var list []End
	err := w.call(ctx, func(ctx context.Context) (err error) {
		list, err = w.transport.List(ctx)
		return err
	})
	errs := []error{err}
	if err == nil { // a list that fails says nothing about ways
		for _, end := range w.ends(func(end End) bool { return !slices.Contains(list, end) }) {
			w.set(end, End{}, false)
		}
	}
	now := time.Now()
	for _, end := range w.missing(now) {
		var begin End
		err := w.call(ctx, func(ctx context.Context) (err error) {
			begin, err = w.transport.Connect(ctx, end)
			return err
		})
		if err == nil && (!validHost(begin.Host) || !validPort(begin.Port)) {
			err = fmt.Errorf("the way to %s begins at %s, which is no address", end, begin)
		}
		if err == nil {
			w.set(end, begin, true)
		}
		errs = append(errs, err)
	}
	for _, end := range w.ends(func(end End) bool { return !w.wants(now, end) }) {
		w.set(end, End{}, false)
		errs = append(errs, w.call(ctx, func(ctx context.Context) error { return w.transport.Disconnect(ctx, end) }))
	}
	err = errors.Join(errs...)
	w.mu.Lock()
	w.failure = err
	w.mu.Unlock()
	if err != nil && ctx.Err() == nil && told.Now(now, err.Error()) {
		w.log.Warn("the transport failed: it is tried again", "error", err)
	}
}

// call calls what is a program's own: it may panic, and what panics has failed.
func (w *ways) call(ctx context.Context, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, wayPatience)
	defer cancel()
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("transport: panic: %v", fault)
		}
	}()
	return found.Tame(f(ctx))
}

func (w *ways) set(end, begin End, stands bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stands {
		w.stands[end] = begin
	} else {
		delete(w.stands, end)
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *ways) ends(which func(End) bool) []End {
	w.mu.Lock()
	var all []End
	for end := range w.stands {
		all = append(all, end)
	}
	w.mu.Unlock()
	return slices.DeleteFunc(all, func(e End) bool { return !which(e) })
}

func (w *ways) wants(now time.Time, end End) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	until, wanted := w.wanted[end]
	return wanted && (until.IsZero() || now.Before(until))
}

func (w *ways) missing(now time.Time) []End {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []End
	for end, until := range w.wanted {
		if !until.IsZero() && now.After(until) {
			delete(w.wanted, end)
			continue
		}
		if _, stands := w.stands[end]; !stands {
			all = append(all, end)
		}
	}
	return all
}

// dial connects to a cluster port.
func (w *ways) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if w.transport == nil {
		return d.DialContext(ctx, network, address)
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	begin, err := w.begin(ctx, End{host, port}, time.Now().Add(wayIdle))
	if err != nil {
		return nil, err
	}
	return d.DialContext(ctx, network, begin.String())
}

// begin returns where a way begins, and waits until it stands.
func (w *ways) begin(ctx context.Context, end End, until time.Time) (End, error) {
	for {
		begin, stands, changed, failure := w.want(end, until)
		if stands {
			return begin, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return End{}, fmt.Errorf("no way to %s: %w", end, errors.Join(context.Cause(ctx), failure))
		}
	}
}

// want has a way stand from now on, and says whether it does.
func (w *ways) want(end End, until time.Time) (begin End, stands bool, changed <-chan struct{}, failure error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if was, wanted := w.wanted[end]; !wanted || !was.IsZero() {
		w.wanted[end] = until
	}
	if begin, stands = w.stands[end]; !stands {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return begin, stands, w.changed, w.failure
}

// routes are where the ways to these routes begin: those that stand, or, if all are waited for, all. Ways to other routes are not wanted any more.
func (w *ways) routes(ctx context.Context, routes []route, all bool) ([]route, error) {
	if w.transport == nil {
		return routes, nil
	}
	w.mu.Lock()
	for end, until := range w.wanted {
		if until.IsZero() && !slices.ContainsFunc(routes, func(r route) bool { return r.host == end.Host && r.port == end.Port }) {
			w.wanted[end] = time.Now() // no more
		}
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, wayStart)
	defer cancel()
	var list []route
	for _, r := range routes {
		begin, stands, _, _ := w.want(End{r.host, r.port}, time.Time{})
		if !stands && all {
			var err error
			if begin, err = w.begin(ctx, End{r.host, r.port}, time.Time{}); err != nil {
				return nil, err
			}
			stands = true
		}
		if stands {
			list = append(list, route{begin.Host, begin.Port, r.name})
		}
	}
	return list, nil
}
