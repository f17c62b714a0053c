package rolebus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// How a connection of our own is made.

// dialer makes it.
type dialer struct {
	to      nats.Options
	again   *redial
	node    string
	servers *servers
	why     *waiting

	secure    bool            // by the user's choice
	keepOrder bool            // servers are tried in their order, by the user's choice
	tried     map[string]bool // by URL, of those that are found, since the round began
	round     bool            // ends with this try
}

// newDialer collects what nats.go is told. All that it complains of comes in one error.
func newDialer(url string, o *options) (*dialer, error) {
	d := &dialer{to: nats.GetDefaultOptions(), again: &redial{log: o.log, node: o.node}, node: o.node, servers: newServers(url, o), why: &waiting{log: o.log}, round: true}
	if d.to.Servers = d.servers.given; len(d.to.Servers) > 0 || o.discovery == nil {
		d.why.note(fmt.Errorf("no NATS server answers at %s", d.hosts()))
	} else {
		d.why.note(d.servers.none())
	}
	all := append(d.again.options(),
		nats.Name(connectionName(o.node)),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),   // what comes late is worse than what does not come
		nats.IgnoreAuthErrorAbort(), // a refusal while the servers are set up anew may pass
		// While nats.go writes to a server that takes nothing it keeps its lock, and everybody waiting, heartbeats too.
		nats.FlusherTimeout(max(o.ttl/4, time.Second)),
		nats.ReconnectOnFlusherError(),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if !badCredentials(err) && d.again.news(subject, err) { // else redial tells it
				o.log.Warn("NATS", "node", o.node, "subject", subject, "error", err)
			}
		}),
	)
	all = append(append(append(all, o.nats...), o.hooks.natsOptions()...), d.again.option, d.servers.option)
	var errs []error
	for _, option := range all {
		if option == nil {
			continue
		}
		if err := option(&d.to); err != nil {
			errs = append(errs, fmt.Errorf("NATS option: %w", err))
		}
	}
	d.keepOrder, d.secure = d.to.NoRandomize, d.to.Secure
	d.to.RetryOnFailedConnect = false // that is done here, and told
	return d, errors.Join(errs...)
}

// hosts are the servers that are tried just now, for people.
func (d *dialer) hosts() string { return cmp.Or(hostsOf(strings.Join(d.to.Servers, ",")), "the URL") }

// dial connects to NATS, trying again while that may help, or for ever. It says whether it had to wait for a server.
func (d *dialer) dial(ctx context.Context, forEver bool) (nc *nats.Conn, waited bool, err error) {
	for wait := firstRetry; ; {
		if d.servers.strategy != nil && !d.choose(ctx) {
			return nil, waited, fmt.Errorf("%w: %w", ended(ctx), d.why.last())
		}
		if over := ended(ctx); over != nil {
			if why := d.why.last(); why != nil {
				over = fmt.Errorf("%w: %w", over, why)
			}
			return nil, waited, over
		}
		nc, err := d.to.Connect()
		if err == nil {
			d.again.made(nc)
			return nc, waited, nil
		}
		waited = true
		if now := time.Now(); hopeless(err) || d.why.due(now) {
			all, never := fmt.Errorf("%s: %w", d.hosts(), inFull(err)), hopeless(err)
			if len(d.to.Servers) > 1 {
				all, never = d.each(all)
			}
			if d.servers.strategy != nil && !badCredentials(all) {
				never = false // other servers may be found
			}
			if never && !forEver {
				return nil, waited, overBy(ctx, all)
			}
			if never {
				wait = refusedWait / 2
			}
			d.why.tell(now, fmt.Errorf("no NATS server takes the connection: %w", all), "node", d.node)
		}
		if d.round {
			d.servers.await(ctx, jitter(wait))
			wait = min(2*wait, max(wait, lastRetry))
		}
	}
}

// each asks every server for itself: of several nats.go tells of the last one only, and says nothing if that one is not up. It
// returns what all of them say, and whether one says that waiting is no use; what it was given, if one takes the connection now.
func (d *dialer) each(before error) (all error, never bool) {
	errs := make([]error, len(d.to.Servers))
	secure := slices.ContainsFunc(d.to.Servers, secureURL)
	var asking sync.WaitGroup
	for i, server := range d.to.Servers {
		asking.Go(func() {
			to := d.to
			to.Servers = []string{server}
			to.Secure = to.Secure || secure                                                           // as nats.go has it of all: a password must not go out in the clear
			to.ConnectedCB, to.ClosedCB, to.DisconnectedCB, to.DisconnectedErrCB = nil, nil, nil, nil // this is not the connection
			nc, err := to.Connect()
			if err == nil {
				nc.Close() // it came up just now: all are tried once more
				return
			}
			errs[i] = err
		})
	}
	asking.Wait()
	for i, one := range errs {
		if one == nil {
			delete(d.tried, d.to.Servers[i])
			d.round = d.servers.strategy == nil
			return before, false
		}
		never = never || hopeless(one)
		if errs[i] = fmt.Errorf("%s: %w", cmp.Or(hostsOf(d.to.Servers[i]), "the URL"), inFull(one)); all == nil {
			all = errs[i]
		} else {
			all = fmt.Errorf("%w; %w", all, errs[i])
		}
	}
	return all, never
}

// inFull says what nats.go leaves out.
func inFull(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("connection refused: %w", err)
	case closedAtOnce(err):
		return fmt.Errorf("the server ends the connection at once, as one does that takes no more connections: %w", err)
	}
	return err
}

// closedAtOnce says whether a server greeted us, and ended the connection before it heard anything. The reason that it gave is lost
// when the system says first that nothing can be written any more.
func closedAtOnce(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "write"
}

// hopeless says whether what a server, or this machine, says to a connection will be the same until somebody changes a setting.
// docs/OPERATING.md has it as a table.
func hopeless(err error) bool {
	var (
		file    *fs.PathError
		address *net.AddrError
		number  *net.ParseError
		record  tls.RecordHeaderError
		op      *net.OpError
		network net.Error
	)
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false // it is not up, or stops, or hangs
	case errors.As(err, &file), errors.As(err, &address), errors.As(err, &number):
		return true
	case errors.As(err, &record):
		return string(record.RecordHeader[:4]) != "-ERR" // it has no time for a handshake now, and says so in plain text
	case errors.As(err, &op) && op.Op == "remote error": // so the other side's words in a TLS handshake are told
		return true
	case errors.As(err, &network), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return false // also a name that is not known yet
	}
	for _, text := range passingWords {
		if strings.HasPrefix(strings.ToLower(err.Error()), text) {
			return false
		}
	}
	return true
}

// passingWords begin errors of nats.go that have no other mark: the server's own words to whom it refuses, and those for an answer
// to a WebSocket's request that is none, as that of a proxy before a server that is not up.
var passingWords = []string{
	"nats: maximum connections exceeded",
	"nats: maximum account active connections exceeded",
	"nats: authentication timeout",
	"nats: connection throttling is active",
	"nats: server shutdown",
	"invalid websocket connection",
}

// connected waits until a borrowed connection is up. It says whether it had to wait.
func connected(ctx context.Context, nc *nats.Conn, why *waiting) (waited bool, err error) {
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !nc.IsConnected() {
		reason := nats.ErrDisconnected
		if last := nc.LastError(); last != nil {
			reason = fmt.Errorf("%w: %w", reason, last)
		}
		if nc.IsClosed() {
			return waited, errors.Join(nats.ErrConnectionClosed, nc.LastError())
		}
		waited = true
		why.tell(time.Now(), fmt.Errorf("the connection to %s is not up: %w", hostsOf(strings.Join(nc.Servers(), ",")), reason))
		timer.Reset(firstRetry) // told just before it is so, and never why it is not
		select {
		case <-status:
			sleep(ctx, time.Millisecond)
		case <-timer.C:
		case <-ctx.Done():
			return waited, fmt.Errorf("%w: %w", ended(ctx), why.last())
		}
	}
	return waited, nil
}
