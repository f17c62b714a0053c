package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// loader is what a process of kind loader does: it writes the records of many nodes into one scope, as
// docs/PROTOCOL.md says and a client in any language would.
type loader struct {
	fleet string // the bucket's identity
	scope string
	life  int64 // the incarnation of all nodes
	nodes []node
	nc    *nats.Conn
	js    jetstream.JetStream
}

// node is what the loader has written of one node.
type node struct {
	name       string
	version    uint64
	generation uint64
	roles      []string
	extra      bool // it has one role more
}

const (
	rolesInScope = 100
	rolesPerNode = 3
	underWay     = 500 // messages without an answer yet

	doLoad   = "load records"
	doAlter  = "change a record"
	doBurst  = "change many records"
	doLeases = "arm leases"
)

type loadOrder struct {
	URL   string `json:"url"`
	Scope string `json:"scope"`
	Count int    `json:"count"`
}

// stored says when a number of messages was stored.
type stored struct {
	From       time.Time `json:"from"`
	To         time.Time `json:"to"` // the last one was acknowledged
	Generation uint64    `json:"generation"`
}

type countOrder struct {
	Count int `json:"count"`
}

func (l *loader) duties() map[string]duty {
	return map[string]duty{
		doLoad: doing(l.load), doAlter: doing(l.alter), doBurst: doing(l.burst), doLeases: doing(l.leases),
	}
}

func (l *loader) load(ctx context.Context, o loadOrder) (stored, error) {
	nc, err := nats.Connect(o.URL, nats.Name("loader"))
	if err != nil {
		return stored{}, err
	}
	if l.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*underWay)); err != nil {
		return stored{}, err
	}
	stream, err := l.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return stored{}, err
	}
	l.fleet = stream.CachedInfo().Config.Metadata["rolebus.fleet"]
	l.nc, l.scope, l.life, l.nodes = nc, o.Scope, time.Now().UnixMilli(), make([]node, o.Count)
	return l.store(ctx, o.Count, func(i int) *nats.Msg {
		n := &l.nodes[i]
		n.name, n.version = fmt.Sprintf("node-%06d", i), 1
		for r := range rolesPerNode {
			n.roles = append(n.roles, fmt.Sprintf("role-%02d", (i+r)%rolesInScope))
		}
		slices.Sort(n.roles)
		return l.whole(n)
	}, func(i int, generation uint64) { l.nodes[i].generation = generation })
}

// alter changes one role of one node.
func (l *loader) alter(ctx context.Context, o changeOrder) (stored, error) {
	i := o.Nth * 7919 % len(l.nodes) // a prime: all over the scope
	s, err := l.store(ctx, 1, func(int) *nats.Msg { return l.toggle(&l.nodes[i]) },
		func(_ int, generation uint64) { l.nodes[i].generation = generation })
	held(ctx)
	return s, err
}

// burst changes one role of each of many nodes, as fast as they can be stored.
func (l *loader) burst(ctx context.Context, o countOrder) (stored, error) {
	return l.store(ctx, o.Count, func(i int) *nats.Msg { return l.toggle(&l.nodes[i]) },
		func(i int, generation uint64) { l.nodes[i].generation = generation })
}

// leases arms leases, one node's after another's, as heartbeats do. They end in an hour, when nobody is there any more.
func (l *loader) leases(ctx context.Context, o countOrder) (stored, error) {
	stream, err := l.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return stored{}, err
	}
	due := stream.CachedInfo().TimeStamp.Add(time.Hour).UTC()
	at := due.Format(time.RFC3339Nano)
	return l.store(ctx, o.Count, func(i int) *nats.Msg { return l.lease(&l.nodes[i%len(l.nodes)], due.UnixMilli(), at) },
		func(int, uint64) {})
}

// store publishes messages, many at once, and returns when the last one is stored.
func (l *loader) store(ctx context.Context, count int, message func(i int) *nats.Msg, done func(i int, generation uint64)) (s stored, err error) {
	acks := make([]jetstream.PubAckFuture, count)
	await := func(i int) error {
		select {
		case ack := <-acks[i].Ok():
			done(i, ack.Sequence)
			s.Generation = max(s.Generation, ack.Sequence)
			acks[i] = nil
			return nil
		case err := <-acks[i].Err():
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.From = time.Now()
	for i := range count + underWay {
		if i >= underWay && i-underWay < count {
			if err := await(i - underWay); err != nil {
				return s, fmt.Errorf("message %d: %w", i-underWay, err)
			}
		}
		if i < count {
			if acks[i], err = l.js.PublishMsgAsync(message(i)); err != nil {
				return s, fmt.Errorf("message %d: %w", i, err)
			}
		}
	}
	s.To = time.Now()
	return s, nil
}
