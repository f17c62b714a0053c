package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

// buses is what a process of kind buses does: it holds buses, one or many.
type buses struct {
	seats  []*seat
	shared *nats.Conn // of all buses, if they share one
}

// seat is one bus, and what it has seen.
type seat struct {
	bus   *rolebus.Bus
	nc    *nats.Conn
	scope *rolebus.Scope // which is watched; the default one until another is joined

	sight
	bare ear
}

// common is the role that every bus has.
const common = rolebus.Role("member")

const (
	doConnect = "connect"
	doJoin    = "join"
	doClose   = "close"
)

type connectOrder struct {
	URL      string        `json:"url"`
	Bucket   string        `json:"bucket"`
	Names    []string      `json:"names"`
	Listed   int           `json:"listed"`   // how many nodes each must list in the end
	Together int           `json:"together"` // so many connect at a time; 0: all
	Observer bool          `json:"observer"`
	Shared   bool          `json:"shared"`
	TTL      time.Duration `json:"ttl"`
	Probe    bool          `json:"probe"` // as often as by default; else never
	Replicas int           `json:"replicas"`
}

// connected says when the last of a process's buses was that far.
type connected struct {
	Returned time.Time `json:"returned"` // its call of Connect
	InSync   time.Time `json:"in_sync"`  // its snapshot listed all
}

type closed struct {
	Returned time.Time `json:"returned"` // the last call of Close
	Late     int       `json:"late"`     // whose goodbye was not confirmed in time: their leases end them
}

func (b *buses) duties() map[string]duty {
	return map[string]duty{
		doConnect: doing(b.connect), doJoin: doing(b.join), doTraffic: doing(b.traffic), doClose: doing(b.close),
		doWatch: doing(b.watch), doUnwatch: doing(b.unwatch), doChange: doing(b.change), doAwait: doing(b.await),
		doTally: doing(b.tally), doAwaitTally: doing(b.awaitTally), doAwaitNone: doing(b.awaitNone),
		doListen: doing(b.listen), doPublish: doing(b.publish), doAwaitFloor: doing(b.awaitFloor),
	}
}

// connect connects the buses, as many at a time as it is told.
func (b *buses) connect(ctx context.Context, o connectOrder) (connected, error) {
	if o.Shared {
		nc, err := nats.Connect(o.URL, nats.Name("rolebus shared"), nats.MaxReconnects(-1), nats.Timeout(o.timeout(ctx)))
		if err != nil {
			return connected{}, err
		}
		b.shared = nc
	}
	b.seats = make([]*seat, len(o.Names))
	returned, inSync, errs := make([]time.Time, len(o.Names)), make([]time.Time, len(o.Names)), make([]error, len(o.Names))
	if o.Together == 0 {
		o.Together = len(o.Names)
	}
	turns := make(chan none, o.Together)
	var wg sync.WaitGroup
	for i, name := range o.Names {
		wg.Go(func() {
			turns <- none{}
			s, err := b.open(ctx, o, name)
			<-turns
			if err != nil {
				errs[i] = err
				return
			}
			returned[i], b.seats[i] = time.Now(), s
			if errs[i] = s.bus.WaitFor(ctx, common, o.Listed); errs[i] != nil {
				errs[i] = fmt.Errorf("%s lists %d of %d nodes: %w", name, s.bus.Nodes(common).Len(), o.Listed, errs[i])
			}
			inSync[i] = time.Now()
		})
	}
	wg.Wait()
	return connected{latest(returned), latest(inSync)}, firstOf(errs)
}

func (o connectOrder) timeout(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return max(time.Until(deadline), time.Millisecond)
}

func (b *buses) open(ctx context.Context, o connectOrder, name string) (*seat, error) {
	opts := []rolebus.Option{
		rolebus.WithBucket(o.Bucket), rolebus.WithNode(name), rolebus.WithTTL(o.TTL), rolebus.WithReplicas(o.Replicas),
	}
	if o.Observer {
		opts = append(opts, rolebus.WithObserver())
	} else {
		opts = append(opts, rolebus.WithRoles(common))
	}
	if !o.Probe {
		opts = append(opts, rolebus.WithProbeInterval(0))
	}
	s := &seat{nc: b.shared}
	var err error
	if b.shared != nil {
		s.bus, err = rolebus.New(ctx, b.shared, opts...)
	} else {
		made := make(chan *nats.Conn, 1)
		opts = append(opts, rolebus.WithNATS(nats.ConnectHandler(func(nc *nats.Conn) { made <- nc })))
		if s.bus, err = rolebus.Connect(ctx, o.URL, opts...); err == nil {
			s.nc = <-made
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.scope = s.bus.Scope
	return s, nil
}

type joinOrder struct {
	Scope string `json:"scope"`
}

type joined struct {
	Took  time.Duration `json:"took"`
	CPU   time.Duration `json:"cpu"`
	Nodes int           `json:"nodes"` // that are listed then
}

// join lets the first bus join a scope, which is the one to watch from then on.
func (b *buses) join(ctx context.Context, o joinOrder) (joined, error) {
	s := b.seats[0]
	before, err := cpuTime()
	if err != nil {
		return joined{}, err
	}
	from := time.Now()
	s.scope, err = s.bus.Join(ctx, o.Scope)
	if err != nil {
		return joined{}, err
	}
	took := time.Since(from)
	after, err := cpuTime()
	return joined{took, after - before, s.scope.AllNodes().Len()}, err
}

// close closes all buses at once.
func (b *buses) close(context.Context, none) (closed, error) {
	returned, errs := make([]time.Time, len(b.seats)), make([]error, len(b.seats))
	var late atomic.Int64
	var wg sync.WaitGroup
	for i, s := range b.seats {
		wg.Go(func() {
			err := s.bus.Close()
			returned[i] = time.Now()
			if errors.Is(err, rolebus.ErrNotConfirmed) {
				late.Add(1)
			} else {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	if b.shared != nil {
		b.shared.Close()
		b.shared = nil
	}
	b.seats = nil
	return closed{latest(returned), int(late.Load())}, firstOf(errs)
}

func latest(times []time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// firstOf returns one of many errors, and how many there are.
func firstOf(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
}
