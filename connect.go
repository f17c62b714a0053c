package rolebus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Connect connects to NATS and takes this process's place in the fleet. The URL is that of a server, or several with
// commas between them; schemes are nats, tls, ws and wss. It returns when the default scope and those of [WithScopes]
// are joined and their snapshots hold who is there. A server that is not up yet is tried again until ctx is over; the
// error then names the servers by host and port.
//
// Connect owns the connection: it reconnects for ever, and [Bus.Close] closes it. All complaints about the URL and the
// options come in one error, before anything starts. Later errors match [ErrServerTooOld], [ErrBucketMismatch],
// [ErrTooLarge], or are those of NATS; a refused permission is told with its subject.
func Connect(ctx context.Context, url string, opts ...Option) (*Bus, error) {
	began := time.Now()
	o, err := newOptions(opts)
	if err = errors.Join(given(ctx), checkURLs(url), err); err != nil {
		return nil, failed("connect", err)
	}
	nc, waited, err := dial(ctx, url, o)
	if err != nil {
		return nil, failed("connect", err)
	}
	b, err := start(ctx, nc, o, true, waited)
	if err != nil {
		nc.Close()
		return nil, failed("connect", err)
	}
	b.tellStarted(began)
	return b, nil
}

// New takes this process's place in the fleet over a connection that the caller owns, as [Connect] does. It sets none
// of the connection's handlers and does not close it. If the connection is closed, the Bus stops with its error.
func New(ctx context.Context, nc *nats.Conn, opts ...Option) (*Bus, error) {
	began := time.Now()
	o, err := newOptions(opts)
	err = errors.Join(given(ctx), err,
		check(nc != nil, "the connection is nil"),
		check(o == nil || len(o.nats) == 0, "NATS options: the connection is made already"))
	if err != nil {
		return nil, failed("new bus", err)
	}
	waited, err := connected(ctx, nc)
	if err != nil {
		return nil, failed("new bus", err)
	}
	b, err := start(ctx, nc, o, false, waited)
	if err != nil {
		return nil, failed("new bus", err)
	}
	b.tellStarted(began)
	return b, nil
}

// start makes the Bus and joins its scopes. If the bus had to wait for the server, an outage has just ended.
func start(ctx context.Context, nc *nats.Conn, o *options, owned, waited bool) (*Bus, error) {
	js, err := jetstream.NewWithAPIPrefix(nc, strings.TrimSuffix(o.subjects().api(""), "."), jetstream.WithDefaultTimeout(o.timeout))
	if err != nil {
		return nil, err
	}
	noise := newNoise(o.log)
	st := &kv{
		nc: nc, js: js, subj: o.subjects(), timeout: o.timeout, patience: min(requestPatience(o.ttl), o.timeout/3), settings: o.settings,
		noise: noise, hooks: o.hooks, limit: -1,
	}
	b := newBus(o, noise, st)
	b.nc, b.owned, st.fleet = nc, owned, b.fleet
	b.peers = &link{nc: nc, subj: o.subjects(), fleet: b.fleet, noise: noise}
	b.hooks.tellConnected(nc)
	if err := b.insist(ctx, func() error { return b.store.ensure(ctx) }); err != nil {
		b.cancel(ErrClosed)
		return nil, errors.Join(err, b.hooks.close(o.timeout))
	}
	status := nc.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	b.wg.Go(func() { b.watchConnection(status) })
	if owned {
		b.wg.Go(b.watchServer)
	}
	if err := b.open(ctx, waited); err != nil {
		return nil, err
	}
	return b, nil
}

// insist tries again while the servers are not ready.
func (b *Bus) insist(ctx context.Context, try func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return overBy(ctx, err)
		case !passing(err):
			return err
		}
		b.opts.log.Info("NATS is not ready, trying again", "bucket", b.opts.bucket, "error", err)
		if !sleep(ctx, jitter(wait)) {
			return fmt.Errorf("%w: %w", ended(ctx), err)
		}
	}
}

// passing says whether an error may go away by itself: servers that start, a cluster without a leader.
func passing(err error) bool {
	var api *jetstream.APIError
	switch {
	case errors.As(err, new(*missingError)):
		return false
	case errors.Is(err, errUnanswered):
		return true
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, ErrBucketMismatch), errors.Is(err, ErrServerTooOld):
		return false
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return false
	case errors.As(err, &api):
		return api.Code == 503 || api.ErrorCode == codeNoPeers // a cluster that has just lost a server
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) // which is small, see dial
}

// dial connects to NATS, trying again while no server answers. It says whether it had to wait.
func dial(ctx context.Context, url string, o *options) (nc *nats.Conn, waited bool, err error) {
	again := &redial{}
	opts := append(append(again.options(),
		nats.Name(connectionName(o.node)),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),   // what comes late is worse than what does not come
		nats.IgnoreAuthErrorAbort(), // a refusal while the servers are set up anew may pass
		nats.RetryOnFailedConnect(false),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			o.log.Warn("NATS", "node", o.node, "subject", subject, "error", err)
		}),
	), append(slices.Clip(o.nats), append(o.hooks.natsOptions(), again.option)...)...)
	if err := ended(ctx); err != nil {
		return nil, false, err
	}
	hosts := hostsOf(url)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		nc, err = nats.Connect(url, opts...)
		if err == nil {
			again.made(nc)
			return nc, waited, nil
		}
		if !unreachable(err) {
			return nil, waited, overBy(ctx, err)
		}
		o.log.Info("no NATS server answers, trying again", "node", o.node, "servers", hosts, "error", err)
		waited = true
		if !sleep(ctx, jitter(wait)) || ctx.Err() != nil {
			return nil, waited, fmt.Errorf("%w: no NATS server answers at %s: %w", ended(ctx), cmp.Or(hosts, "the URL"), err)
		}
	}
}

// unreachable says whether a server that is not up, or not yet ready, may be the cause.
func unreachable(err error) bool {
	var network net.Error
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF) ||
		errors.As(err, &network)
}

// connected waits until a borrowed connection is up. It says whether it had to wait.
func connected(ctx context.Context, nc *nats.Conn) (waited bool, err error) {
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	for !nc.IsConnected() {
		if nc.IsClosed() {
			return waited, nats.ErrConnectionClosed
		}
		waited = true
		select {
		case <-status:
			// Told just before it is so: look again soon.
			sleep(ctx, time.Millisecond)
		case <-ctx.Done():
			return waited, fmt.Errorf("%w: %w", ended(ctx), nats.ErrDisconnected)
		}
	}
	return waited, nil
}
