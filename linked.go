package rolebus

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Whether there is a connection, for those who cannot wait until nats.go says so.

// linked is what a connection has told of itself. It tells while it keeps its lock: before it dials.
type linked struct {
	status chan nats.Status
	up     atomic.Bool
}

// Connected says whether there is a connection to NATS now. It never waits. nats.Conn keeps its lock while it dials and until a server
// has answered, for up to nats.Timeout each time: all that asks it something, or publishes, waits for that, whatever its context says.
// So a package that builds on the bus, and whose calls end in time, asks here first. An instant later it may be otherwise.
func (b *Bus) Connected() bool {
	must(b.made())
	return b.nc.linked()
}

func (t *trunk) linked() bool {
	l := t.link.Load()
	return l != nil && len(l.status) == 0 && l.up.Load()
}

// follow takes in what becomes of the connection that the trunk is now. The function that it returns does so until the connection is
// closed, or the channel.
func (t *trunk) follow() (run func(until <-chan struct{})) {
	nc := t.conn()
	l := &linked{status: nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)}
	l.up.Store(nc.IsConnected())
	t.link.Store(l)
	return func(until <-chan struct{}) {
		defer nc.RemoveStatusListener(l.status)
		for {
			select {
			case status := <-l.status:
				l.up.Store(status == nats.CONNECTED)
				if status == nats.CLOSED {
					return
				}
			case <-until:
				return
			}
		}
	}
}
