package call

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// How a request goes out: over NATS, or, to this process's own node, straight to its endpoint.

// How often a connection that is down is looked at: at first, and in the end.
const (
	lookSoon = time.Millisecond
	lookLate = 50 * time.Millisecond
)

// reach says whether a node is reached over NATS, because it is not this process's own, in the life that it has now; if so it waits until there
// is a connection. It returns how much is left of the time that an attempt may take.
func (c *client) reach(ctx context.Context, n *rolebus.Node, patience time.Duration) (far bool, left time.Duration, err error) {
	if n.Name() == c.self && n.Incarnation() == c.scope.Incarnation() {
		return false, patience, nil
	}
	if c.bus.Connected() {
		return true, patience, nil
	}
	left, err = c.connected(ctx, patience)
	return true, left, err
}

// send sends a request, over NATS if it goes far. Without an error it is on its way; with one it certainly was not sent.
func (c *client) send(ctx context.Context, req *request, subject, reply string, patience time.Duration, far bool) error {
	headers, err := req.headers(ctx, patience, reply)
	if err != nil {
		return err
	}
	msg := nats.Msg{Subject: subject, Reply: reply, Data: req.data, Header: headers}
	if !far {
		return c.hand(req, msg)
	}
	if reply != "" {
		if err := c.listen(); err != nil {
			return c.stopped(fmt.Errorf("%w: %w", ErrUnreachable, err))
		}
	}
	return sent(c.publish(&msg))
}

// headers are those of an attempt. They may be shared with others, and must not be changed.
func (req *request) headers(ctx context.Context, patience time.Duration, reply string) (nats.Header, error) {
	timeout, within := "", ""
	if reply != "" {
		timeout, within = formatTimeout(patience), withinOf(ctx)
	}
	if timeout == "" && within == "" && req.inject == nil {
		return req.header, nil
	}
	headers := nats.Header{}
	if req.inject != nil {
		if err := inject(ctx, req.inject, headers); err != nil {
			return nil, err
		}
	}
	maps.Copy(headers, req.header)
	if timeout != "" {
		headers[headerTimeout] = []string{timeout}
	}
	if within != "" {
		headers[headerWithin] = []string{within}
	}
	return headers, nil
}

func (c *client) publish(msg *nats.Msg) error {
	nc := c.bus.Conn()
	if len(msg.Header) == 0 && msg.Reply != "" { // which it must have
		return nc.PublishRequest(msg.Subject, msg.Reply, msg.Data)
	}
	return nc.PublishMsg(msg)
}

// sent tells why something was not sent.
func sent(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, nats.ErrBadHeaderMsg): // of Inject
		return fmt.Errorf("%w: %w", ErrEncode, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// connected waits until there is a connection, and returns how much is left of the time that it may take. nats.go would send later what
// was given to it now, when nobody may wait for it any more.
func (c *client) connected(ctx context.Context, patience time.Duration) (left time.Duration, err error) {
	began := time.Now()
	end := time.NewTimer(patience)
	defer end.Stop()
	for wait := lookSoon; !c.bus.Connected(); wait = min(2*wait, lookLate) {
		select {
		case <-time.After(wait):
		case <-end.C:
			return 0, fmt.Errorf("%w: %w: %w", ErrUnreachable, nats.ErrDisconnected, ErrTimeout)
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w: %w", ErrUnreachable, nats.ErrDisconnected, over(ctx))
		case <-c.bus.Context().Done():
			return 0, c.stopped(rolebus.ErrClosed)
		}
	}
	return patience - time.Since(began), nil
}

// hand gives a request to this process's own endpoint. The data is its own from now on, as it would be if it came from elsewhere.
func (c *client) hand(req *request, msg nats.Msg) error {
	e := serverOf(c.scope).endpoint(req.method)
	if e == nil {
		return ErrNoMethod
	}
	if size, most := int64(len(msg.Data)), c.largest(); size > most {
		return because(ErrTooLarge, "%d bytes, at most %d", size, most)
	}
	msg.Data, msg.Header = slices.Clone(msg.Data), maps.Clone(msg.Header)
	for key, values := range msg.Header {
		msg.Header[key] = slices.Clone(values)
	}
	e.take(&msg, c)
	return nil
}

// largest is how large a message may be, as it was last when there was a connection: what stays in this process needs none.
func (c *client) largest() int64 {
	if c.bus.Connected() {
		c.most.Store(c.bus.Conn().MaxPayload())
	}
	if most := c.most.Load(); most > 0 {
		return most
	}
	return math.MaxInt64
}

// answer answers a call that this process made to its own node.
func (c *client) answer(to string, msg nats.Msg) error {
	if size, most := int64(len(msg.Data)), c.largest(); size > most {
		return fmt.Errorf("%w: %d bytes, at most %d", nats.ErrMaxPayload, size, most)
	}
	msg.Subject, msg.Data = to, slices.Clone(msg.Data) // the caller's own from now on: the handler may keep what it returned
	c.hear(&msg)
	return nil
}

// cancel tells a callee that nobody waits any more. It may be too late, or get lost: that harms nobody.
func (c *client) cancel(n *rolebus.Node, subject, reply string, req *request, far bool) {
	msg := &nats.Msg{Subject: subject, Header: nats.Header{headerCall: {callCancel}}, Data: []byte(reply)}
	if far {
		if c.bus.Connected() {
			_ = c.publish(msg)
		}
	} else if e := serverOf(c.scope).endpoint(req.method); e != nil {
		e.take(msg, nil)
	}
}

// errInject is what came of an attempt whose function ended its goroutine.
var errInject = because(ErrEncode, "Inject: runtime.Goexit")

// inject has the user's function put headers into a request, but none of ours and the servers'.
func inject(ctx context.Context, f func(context.Context, nats.Header), headers nats.Header) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = because(ErrEncode, "Inject: panic: %v", fault)
		}
	}()
	theirs := nats.Header{}
	f(ctx, theirs)
	for key, values := range theirs {
		if reserved(key) || len(values) == 0 {
			continue
		}
		headers[key] = values
	}
	return nil
}

// reserved says whether a header is not the user's to set.
func reserved(key string) bool {
	for _, start := range [...]string{"rolebus-", "nats-"} {
		if len(key) >= len(start) && strings.EqualFold(key[:len(start)], start) {
			return true
		}
	}
	return strings.EqualFold(key, headerType)
}

// refusedBy returns what a server said last, if that was that this process may not use a subject; nil if not, or while nobody can be asked.
func refusedBy(b *rolebus.Bus, subject string) error {
	if !b.Connected() {
		return nil
	}
	if err := b.Conn().LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`) {
		return err
	}
	return nil
}
