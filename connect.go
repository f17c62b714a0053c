package rolebus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// dial connects to NATS, trying again while no server answers. It says whether it had to wait.
func dial(ctx context.Context, url string, o *options) (nc *nats.Conn, waited bool, err error) {
	opts := append([]nats.Option{
		nats.Name("rolebus " + o.node),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
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
	}, o.nats...)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		if err := context.Cause(ctx); err != nil {
			return nil, waited, err
		}
		nc, err = nats.Connect(url, opts...)
		if err == nil {
			return nc, waited, nil
		}
		if !unreachable(err) {
			return nil, waited, err
		}
		o.log.Info("no NATS server answers, trying again", "node", o.node, "error", err)
		waited = true
		if !sleep(ctx, jitter(wait)) {
			return nil, waited, fmt.Errorf("%w: %w", context.Cause(ctx), err)
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
			return waited, fmt.Errorf("%w: %w", context.Cause(ctx), nats.ErrDisconnected)
		}
	}
	return waited, nil
}
