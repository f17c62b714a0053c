package rolebus

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// How a Bus follows what becomes of its connection.

var statuses = []nats.Status{nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.DRAINING_SUBS, nats.CLOSED}

// watched is a connection, and what is told of it.
type watched struct {
	nc     *nats.Conn
	status chan nats.Status
	up     bool // as was told last
}

// watchConnection tells the scopes when the connection is lost and when it is back.
func (b *Bus) watchConnection(w watched) {
	defer func() { w.nc.RemoveStatusListener(w.status) }()
	for {
		var now nats.Status
		select {
		case <-b.parted: // until then a goodbye may wait for the connection
			return
		case now = <-w.status:
		}
		if now == nats.DRAINING_SUBS {
			// The user ends the connection, and messages still get out for a moment: enough for goodbyes.
			b.cancel(failed("the bus stops", nats.ErrConnectionDraining))
			continue
		}
		was := w.up
		w.up = now == nats.CONNECTED // what it was told, not what it is: it may be back before we look
		if b.dialer == nil {         // else its handlers tell
			b.hooks.tellStatus(w.nc, w.up)
		}
		again := false
		if w.nc.IsClosed() {
			if again = b.dialer != nil && b.dialer.endedByServer(w.nc.LastError(), was && now == nats.CLOSED); !again {
				b.cancel(failed("the bus stops", nats.ErrConnectionClosed))
				return
			}
			w.up = false
		}
		b.heed(w.up)
		if again {
			if !b.redial(&w) {
				return
			}
			b.heed(w.up)
		}
	}
}

// heed has the scopes know that the connection is lost, or back.
func (b *Bus) heed(up bool) {
	b.opts.log.Info("connection", "up", up, "node", b.opts.node)
	if b.dialer != nil {
		b.dialer.servers.relink()
	}
	if subs := b.nc.cutShort(); len(subs) > 0 {
		_ = b.goWhileOpen(func() {
			for _, sub := range subs {
				_ = sub.Unsubscribe() // fails only if the connection is closed
			}
		})
	}
	if up && b.ctx.Err() == nil {
		b.clock.reset()
		b.speak(b.attest())
		b.shelves.anew()
	}
	for _, m := range b.staying() {
		if up {
			m.connected()
		} else {
			m.disconnected()
		}
	}
}

// endedByServer says whether a connection was closed because of a server's words, after which nats.go makes none any more: about a
// message too large for a limit that was lowered meanwhile, say. Of one that was up until then, err tells: where somebody has closed
// it, one of the errors that have names is left of what was before, or none. Of one that was lost just before it tells nothing,
// because nats.go forgets it when it goes to make the connection again; but by itself it would never give that up, unless its user
// has set a limit.
func (d *dialer) endedByServer(err error, wasUp bool) bool {
	if !wasUp && d.to.AllowReconnect && d.to.MaxReconnect < 0 {
		return true
	}
	if !wasUp || err == nil {
		return false
	}
	return !slices.ContainsFunc([]error{
		nats.ErrNoServers, nats.ErrPermissionViolation, nats.ErrMaxSubscriptionsExceeded, nats.ErrSlowConsumer, nats.ErrStaleConnection,
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
	}, func(named error) bool { return errors.Is(err, named) })
}

// redial makes another connection in the place of one of our own that nats.go has given up; false if the Bus has parted before.
func (b *Bus) redial(w *watched) bool {
	why := cmp.Or(w.nc.LastError(), nats.ErrConnectionClosed)
	b.opts.log.Warn("a server ended the connection, making another one", "node", b.opts.node, "error", why)
	b.hooks.tellDisconnected(w.nc, why)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-b.parted:
			cancel()
		case <-ctx.Done():
		}
	}()
	for sleep(ctx, b.dialer.again.pause()) {
		b.dialer.why = &waiting{log: b.opts.log}
		nc, err := within(ctx, b.dialer.why, func() (*nats.Conn, error) {
			nc, _, err := b.dialer.dial(ctx, true)
			return nc, err
		}, (*nats.Conn).Close)
		if err != nil {
			return false // only the end of ctx is one
		}
		w.nc.RemoveStatusListener(w.status)
		*w = watched{nc: nc, status: nc.StatusChanged(statuses...), up: true} // what becomes of it from now on is told
		if nc.IsClosed() {
			continue // it was ended before anybody listened
		}
		if err := b.nc.replace(nc); err != nil {
			b.opts.log.Warn("not everything could be subscribed again", "node", b.opts.node, "error", err)
		}
		follow := b.nc.follow()
		b.wg.Go(func() { follow(b.parted) })
		b.hooks.tellConnected(nc)
		return true
	}
	return false
}

// warn says where a borrowed connection is less than one of Connect.
func (b *Bus) warn(nc *nats.Conn) {
	o := nc.Opts
	say := func(what, mend string) {
		b.opts.log.Warn("the borrowed connection: "+what, "node", b.opts.node, "better", mend)
	}
	switch {
	case !o.AllowReconnect:
		say("it is not made again when it breaks, and the bus stops then", "without nats.NoReconnect")
	case o.MaxReconnect >= 0:
		say("it is given up after some tries to make it again, and the bus stops then", "nats.MaxReconnects(-1)")
	}
	if !o.IgnoreAuthErrorAbort {
		say("it is given up when a server refuses it twice, and the bus stops then", "nats.IgnoreAuthErrorAbort()")
	}
	if hang := o.PingInterval * time.Duration(o.MaxPingsOut+1); o.PingInterval <= 0 || hang > b.opts.ttl {
		say("a server that hangs is not left within a TTL", "nats.PingInterval and nats.MaxPingsOutstanding, whose product is well below the TTL")
	}
}
