package rolebus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// trunk is the connection that all of a Bus share, whichever it is now: nats.go gives one up for good when a server ends it with words
// that it does not know, and then one of our own is made anew. Nothing is sent while there is none. nats.go would keep it, and
// send it later: a question that nobody waits for any more, or a heartbeat that is a switch which fires at once.
type trunk struct {
	own      bool // what was closed is made anew
	refusals *refusedSubjects
	current  atomic.Pointer[nats.Conn]
	before   atomic.Uint64 // connections that were lost with those before the current one
	largest  atomic.Int64  // see MaxPayload
	link     atomic.Pointer[linked]

	mu       sync.Mutex
	lasting  map[*lasting]bool
	draining map[*nats.Subscription]*ear // that were stopped, and of which something may still be handed on
	ended    bool                        // no ear hears anything any more
}

func newTrunk(nc *nats.Conn, own bool) *trunk {
	t := &trunk{own: own, refusals: &refusedSubjects{}, lasting: map[*lasting]bool{}, draining: map[*nats.Subscription]*ear{}}
	t.current.Store(nc)
	t.largest.Store(nc.MaxPayload())
	return t
}

func (t *trunk) conn() *nats.Conn { return t.current.Load() }

// up says why nothing can be sent now, if so.
func (t *trunk) up() error {
	nc := t.conn()
	switch {
	case nc.IsConnected():
		return nil
	case nc.IsClosed() && !t.own:
		return nats.ErrConnectionClosed // for good
	}
	return nats.ErrDisconnected
}

// lost makes of what nats.go says when a connection is lost under a request what that is: for good only if it is.
func (t *trunk) lost(err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) {
		if down := t.up(); down != nil {
			return down
		}
		return nats.ErrDisconnected // it is back already
	}
	return err
}

func (t *trunk) RequestMsgWithContext(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	if err := t.up(); err != nil {
		return nil, err
	}
	answer, err := t.conn().RequestMsgWithContext(ctx, msg)
	return answer, t.lost(err)
}

func (t *trunk) RequestWithContext(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	return t.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: body})
}

func (t *trunk) Publish(subject string, body []byte) error {
	if err := t.up(); err != nil {
		return err
	}
	return t.lost(t.conn().Publish(subject, body))
}

func (t *trunk) PublishRequest(subject, reply string, body []byte) error {
	if err := t.up(); err != nil {
		return err
	}
	return t.lost(t.conn().PublishRequest(subject, reply, body))
}

func (t *trunk) FlushWithContext(ctx context.Context) error {
	if err := t.up(); err != nil {
		return err
	}
	return t.lost(t.conn().FlushWithContext(ctx))
}

// ChanSubscribe is for as long as the connection.
func (t *trunk) ChanSubscribe(subject string, messages chan *nats.Msg) (*nats.Subscription, error) {
	sub, err := t.conn().ChanSubscribe(subject, messages)
	return sub, t.lost(err)
}

func (t *trunk) NewInbox() string               { return t.conn().NewInbox() }
func (t *trunk) LastError() error               { return t.conn().LastError() }
func (t *trunk) IsConnected() bool              { return t.conn().IsConnected() }
func (t *trunk) Servers() []string              { return t.conn().Servers() }
func (t *trunk) ConnectedServerId() string      { return t.conn().ConnectedServerId() }
func (t *trunk) ConnectedClusterName() string   { return t.conn().ConnectedClusterName() }
func (t *trunk) ConnectedServerVersion() string { return t.conn().ConnectedServerVersion() }

// MaxPayload is asked by whoever changes something, before waiting with a context. nats.go keeps its lock while it dials, for as long as
// a server says nothing: then it is what it was last.
func (t *trunk) MaxPayload() int64 {
	told, nc := make(chan int64, 1), t.conn()
	go func() { told <- nc.MaxPayload() }()
	timer := time.NewTimer(lateGrace)
	defer timer.Stop()
	select {
	case largest := <-told:
		t.largest.Store(largest)
	case <-timer.C:
	}
	return t.largest.Load()
}

// breaks counts how often the connection was lost.
func (t *trunk) breaks() uint64 { return t.before.Load() + t.conn().Stats().Reconnects }

// jetStream is what of nats.go's client of JetStream a Bus uses.
type jetStream interface {
	Stream(ctx context.Context, name string) (jetstream.Stream, error)
	CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error)
	UpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error)
	CreateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error)
}

// client is that, on the connection that the trunk is now.
type client struct {
	trunk *trunk
	on    func(*nats.Conn) (jetstream.JetStream, error)

	mu  sync.Mutex
	nc  *nats.Conn
	now jetStream
}

func newClient(t *trunk, on func(*nats.Conn) (jetstream.JetStream, error)) (*client, error) {
	nc := t.conn()
	js, err := on(nc)
	return &client{trunk: t, on: on, nc: nc, now: js}, err
}

// ask returns the client to ask now, or why nobody can be asked.
func (c *client) ask() (jetStream, error) {
	if err := c.trunk.up(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if nc := c.trunk.conn(); nc != c.nc {
		js, err := c.on(nc)
		if err != nil {
			return nil, err
		}
		c.nc, c.now = nc, js
	}
	return c.now, nil
}

func (c *client) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	js, err := c.ask()
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, name)
	return stream, c.trunk.lost(err)
}

func (c *client) CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	js, err := c.ask()
	if err != nil {
		return nil, err
	}
	stream, err := js.CreateStream(ctx, cfg)
	return stream, c.trunk.lost(err)
}

func (c *client) UpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	js, err := c.ask()
	if err != nil {
		return nil, err
	}
	stream, err := js.UpdateStream(ctx, cfg)
	return stream, c.trunk.lost(err)
}

func (c *client) CreateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	js, err := c.ask()
	if err != nil {
		return nil, err
	}
	consumer, err := js.CreateConsumer(ctx, stream, cfg)
	return consumer, c.trunk.lost(err)
}
