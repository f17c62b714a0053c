package rolebus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Connect connects to NATS and takes this process's place in the fleet. The URL is that of a server, or several with
// commas between them; schemes are nats, tls, ws and wss; it may be empty if there is [WithDiscovery]. It returns when the default scope and those of [WithScopes]
// are joined and their snapshots hold who is there. What may pass, as that a server is not up yet, is waited for until ctx is
// over; the error then names the servers by host and port, and what they said. What somebody has to change, as refused
// credentials or a file that is missing, is an error at once: docs/OPERATING.md has the list. ctx over, it returns within a
// quarter of a second.
//
// Connect owns the connection: it reconnects for ever, and [Bus.Close] closes it. All complaints about the URL and the
// options come in one error, before anything starts. Later errors match [ErrServerTooOld], [ErrBucketMismatch],
// [ErrTooLarge], or are those of NATS; a refused permission is told with its subject.
func Connect(ctx context.Context, url string, opts ...Option) (*Bus, error) {
	began := time.Now()
	o, err := newOptions(opts)
	if url != "" || o.discovery == nil {
		err = errors.Join(checkURLs(url), err)
	}
	err = errors.Join(given(ctx), err)
	d, bad := newDialer(url, o)
	if err = errors.Join(err, bad); err != nil {
		return nil, failed("connect", err)
	}
	b, err := within(ctx, d.why, func() (*Bus, error) {
		stop := d.servers.begin()
		nc, waited, err := d.dial(ctx, false)
		if err != nil {
			stop()
			return nil, err
		}
		b, err := start(ctx, nc, o, d, waited, d.why)
		if err != nil {
			stop()
			nc.Close()
			return nil, err
		}
		if d.servers.strategy != nil && b.goWhileOpen(func() { b.followServers(stop) }) != nil {
			stop()
		}
		return b, nil
	}, (*Bus).closeUnseen)
	if err != nil {
		return nil, failed("connect", err)
	}
	b.tellStarted(began)
	return b, nil
}

// New takes this process's place in the fleet over a connection that the caller owns, as [Connect] does. It sets none
// of the connection's handlers and does not close it. If the connection is closed, the Bus stops with its error; if it is
// drained, the Bus says goodbye first. Where the connection's options make it less than one of Connect, as nats.go's defaults
// do, a warning in the log says what would be better; docs/OPERATING.md has the list.
func New(ctx context.Context, nc *nats.Conn, opts ...Option) (*Bus, error) {
	began := time.Now()
	o, err := newOptions(opts)
	err = errors.Join(given(ctx), err,
		check(nc != nil, "the connection is nil"),
		check(o == nil || len(o.nats) == 0, "NATS options: the connection is made already"),
		check(o == nil || o.discovery == nil, "discovery: the connection is made already, and has its servers; Connect makes one that follows what is found"))
	if err != nil {
		return nil, failed("new bus", err)
	}
	why := &waiting{log: o.log}
	b, err := within(ctx, why, func() (*Bus, error) {
		waited, err := connected(ctx, nc, why)
		if err != nil {
			return nil, err
		}
		return start(ctx, nc, o, nil, waited, why)
	}, (*Bus).closeUnseen)
	if err != nil {
		return nil, failed("new bus", err)
	}
	b.tellStarted(began)
	return b, nil
}

// start makes the Bus and joins its scopes. If the bus had to wait for the server, an outage has just ended.
func start(ctx context.Context, nc *nats.Conn, o *options, d *dialer, waited bool, why *waiting) (*Bus, error) {
	noise, t := newNoise(o.log), newTrunk(nc, d != nil)
	if d != nil {
		t.refusals = &d.again.subjects
	}
	st, err := newKV(t, o, noise)
	if err != nil {
		return nil, err
	}
	b := newBus(o, noise, st)
	b.nc, b.dialer, b.entries, st.fleet, st.pace = t, d, st, b.fleet, b.pace
	b.suspect = st.suspect
	st.upkeep.later = func(f func(context.Context)) { _ = b.goWhileOpen(func() { f(b.ctx) }) } // fails only if it stops
	b.peers = &link{nc: t, subj: o.subjects(), fleet: b.fleet, noise: noise}
	b.hooks.tellConnected(nc)
	w := watched{nc: nc, status: nc.StatusChanged(statuses...), up: true}
	if err := o.insist(ctx, why, func() error { return b.store.ensure(ctx) }); err != nil {
		why.note(err)
		nc.RemoveStatusListener(w.status)
		b.cancel(ErrClosed)
		return nil, errors.Join(err, b.hooks.close(o.timeout))
	}
	b.pace.flush, b.pace.later = t.FlushWithContext, st.upkeep.later
	if b.pace.measure(ctx); b.pace.short() != nil {
		o.log.Warn(b.pace.short().Error(), "node", o.node)
	}
	follow := t.follow()
	b.wg.Go(func() { follow(b.parted) })
	b.wg.Go(func() { b.watchConnection(w) })
	if d != nil {
		b.wg.Go(b.watchServer)
	} else {
		b.warn(nc)
	}
	if err := b.openAll(ctx, waited); err != nil {
		why.note(err) // the goodbyes may take longer than ctx
		_ = b.giveUp(ctx)
		return nil, err
	}
	return b, nil
}

// insist tries again while the servers are not ready.
func (o *options) insist(ctx context.Context, why *waiting, try func() error) error {
	var before error
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && before != nil && errors.Is(err, ctx.Err()):
			return fmt.Errorf("%w: %w", ended(ctx), before) // why it waited says more than that the last try had no time
		case ctx.Err() != nil:
			return overBy(ctx, err)
		case !passing(err):
			return err
		}
		before = err
		why.tell(time.Now(), err, "node", o.node, "bucket", o.bucket)
		if !sleep(ctx, jitter(wait)) {
			return fmt.Errorf("%w: %w", ended(ctx), err)
		}
	}
}

// passing says whether an error may go away by itself: servers that start, a cluster without a leader.
func passing(err error) bool {
	var api *jetstream.APIError
	switch {
	case errors.As(err, new(*missingError)), errors.Is(err, ErrTwoBuckets):
		return false
	case errors.Is(err, errUnanswered), errors.Is(err, ErrNoBucket): // somebody may make it
		return true
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, ErrBucketMismatch), errors.Is(err, ErrServerTooOld):
		return false
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return false
	case errors.As(err, &api):
		// A server that is full, or has no leader now, is a 503; a cluster that has just lost a server is not.
		return api.Code == 503 || api.ErrorCode == codeAccountFull || api.ErrorCode == codeNoPeers
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) // which is small, see dial
}
