package rolebus

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What hooks are told of the connection.

// hookLink is what they were told of it last.
type hookLink struct {
	mu              sync.Mutex
	up              bool
	nc              *nats.Conn // which is up, or was
	server, address string
	lost            time.Time // when it was told that it is down
}

// natsOptions have the handlers of a connection of our own tell. They know why it was lost. Those that the user has set are called,
// too.
func (h *hooks) natsOptions() []nats.Option {
	if h == nil || len(h.connected)+len(h.disconnected) == 0 {
		return nil
	}
	return []nats.Option{func(o *nats.Options) error {
		lost, back := o.DisconnectedErrCB, o.ReconnectedCB
		if lost == nil && o.DisconnectedCB != nil { // the user may have set this older one, which ours would displace
			old := o.DisconnectedCB
			lost = func(nc *nats.Conn, _ error) { old(nc) }
		}
		o.DisconnectedErrCB = func(nc *nats.Conn, err error) {
			if err == nil { // as when nats.go gives it up
				err = nc.LastError()
			}
			h.tellDisconnected(nc, err)
			if lost != nil {
				lost(nc, err)
			}
		}
		o.ReconnectedCB = func(nc *nats.Conn) {
			h.tellConnected(nc)
			if back != nil {
				back(nc)
			}
		}
		return nil
	}}
}

// tellStatus tells of a connection that is not ours, whose handlers we do not touch.
func (h *hooks) tellStatus(nc *nats.Conn, up bool) {
	switch {
	case h == nil:
	case nc.IsClosed():
		h.tellDisconnected(nc, nats.ErrConnectionClosed)
	case up:
		h.tellConnected(nc)
	default:
		h.tellDisconnected(nc, nc.LastError())
	}
}

// tellConnected tells that there is a connection, unless that was told, or it is lost already: then its end does not come.
func (h *hooks) tellConnected(nc *nats.Conn) {
	if h == nil {
		return
	}
	l := &h.link
	l.mu.Lock()
	defer l.mu.Unlock()
	server, address := nc.ConnectedServerName(), nc.ConnectedAddr()
	if l.up || address == "" {
		return
	}
	info := ConnectedInfo{Server: server, Address: address}
	if !l.lost.IsZero() {
		info.After = time.Since(l.lost)
	}
	l.up, l.nc, l.server, l.address = true, nc, server, address
	h.connected.Tell(info) // under the lock, for the order; it does not wait
}

// tellDisconnected tells that there is no connection any more, unless that was told.
func (h *hooks) tellDisconnected(nc *nats.Conn, err error) {
	if h == nil {
		return
	}
	l := &h.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up || l.nc != nc {
		return
	}
	l.up, l.lost = false, time.Now()
	h.disconnected.Tell(DisconnectedInfo{Server: l.server, Address: l.address, Err: err})
}

// tellServers tells that the connection may go to other servers than before.
func (h *hooks) tellServers(info ServersInfo) {
	if h != nil {
		h.servers.Tell(info)
	}
}
