package rolebustest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

const (
	busTTL  = 3 * time.Second // short, and still three heartbeats for a machine that is busy
	busSync = time.Second

	connectTimeout = 30 * time.Second
)

// names gives the buses of one server or cluster their node names.
type names struct{ n atomic.Int64 }

func (n *names) next() string { return fmt.Sprintf("node-%d", n.n.Add(1)) }

// openBus connects a bus that is closed with the test.
func openBus(tb testing.TB, url string, names *names, opts []rolebus.Option) *rolebus.Bus {
	tb.Helper()
	opts = append([]rolebus.Option{
		rolebus.WithNode(names.next()), rolebus.WithTTL(busTTL), rolebus.WithSyncInterval(busSync),
	}, opts...)
	ctx, cancel := context.WithTimeout(tb.Context(), connectTimeout)
	defer cancel()
	b, err := rolebus.Connect(ctx, url, opts...)
	if err != nil {
		tb.Fatalf("rolebustest: a bus to %s: %v", url, err)
	}
	tb.Cleanup(func() {
		if err := closeBus(b); err != nil { // no fault where the test has cut the bus off
			tb.Logf("rolebustest: closing the bus of node %s: %v", b.Name(), err)
		}
	})
	return b
}

// closeBus closes a bus. One that the test has cut off, or whose server it has stopped, would wait in vain for the connection to
// be back, to say goodbye.
func closeBus(b *rolebus.Bus) error {
	if b.Conn().IsConnected() {
		return b.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return b.Shutdown(ctx)
}

// openConn makes a plain connection that is closed with the test.
func openConn(tb testing.TB, url string, opts []nats.Option) *nats.Conn {
	tb.Helper()
	opts = append([]nats.Option{
		nats.Timeout(10 * time.Second), // a machine may be busy
		nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
	}, opts...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		tb.Fatalf("rolebustest: a connection to %s: %v", url, err)
	}
	tb.Cleanup(nc.Close)
	return nc
}
