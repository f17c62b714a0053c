package embedded

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/found"
)

// How a process hears of others: by discovery, by asking them, and by being asked.

// discover keeps what discovery shows. Without a port it is the same for all.
func (l *loop) discover(strategy rolebus.Strategy, usual int) {
	f := found.Following[rolebus.Address]{
		Name: found.NameOf(strategy), Discover: strategy.Discover, Check: rolebus.Address.Check, Log: l.log,
		Changed: func(list []rolebus.Address) {
			var contacts []contact
			for _, a := range list {
				contacts = append(contacts, contact{Host: a.Host, Port: cmp.Or(a.Port, usual), TLSName: a.TLSName})
			}
			l.discovered.Store(&contacts)
		},
		Failed: func(err error) {
			if l.troubled.Now(time.Now(), err.Error()) {
				l.log.Warn("discovery failed, what was found before stays", "error", err)
			}
		},
	}
	if err := f.Follow(l.ctx); err != nil {
		l.log.Warn("discovery ended", "error", err)
	}
}

// announce makes this process known. It is a strategy's own code, too, which may panic, end, or not end: so it is followed as one, that finds nothing.
func (l *loop) announce(to announcer, own rolebus.Address) {
	var told found.Complaints
	f := found.Following[rolebus.Address]{
		Name: found.NameOf(to), Check: rolebus.Address.Check, Log: l.log, Changed: func([]rolebus.Address) {},
		Discover: func(ctx context.Context, _ func([]rolebus.Address, error)) error {
			return to.Announce(ctx, []rolebus.Address{own})
		},
		Failed: func(err error) {
			if told.Now(time.Now(), err.Error()) {
				l.log.Warn("this process cannot be made known: others must find it by themselves", "error", err)
			}
		},
	}
	_ = f.Follow(l.ctx) // which has told of one that does not end
}

// answer says who this process is to another that has said who it is.
func (l *loop) answer(from net.Addr, text []byte) []byte {
	h, err := decodeHello(text)
	if err != nil {
		l.stranger(from, err)
		return l.own.Load().encode() // so that the other sees the version
	}
	select {
	case l.heard <- heard{from, h, time.Now()}:
	default: // it asks again
	}
	own := l.own.Load()
	if time.Since(own.Time) > fresh && own.Lead != nil { // frozen until now, or busy: what it decided as the leader may be over
		said := *own
		said.Lead = nil
		own = &said
	}
	return own.encode()
}

// stranger tells of somebody who is none of ours. It is called from several goroutines.
func (l *loop) stranger(from net.Addr, err error) {
	l.strangers.Lock()
	defer l.strangers.Unlock()
	if l.strange.Now(time.Now(), err.Error()) {
		l.log.Warn("a stranger at the cluster port", "from", from, "error", err)
	}
}

// take takes in what somebody answered, or that he did not.
func (l *loop) take(now time.Time, a answer) {
	h, err := (*hello)(nil), a.err
	if err == nil {
		h, err = decodeHello(a.text)
	}
	if err != nil {
		l.asking.failed(now, a.contact, err)
		l.brain.view.miss(now, a.contact)
		return
	}
	l.asking.took(now, a.contact, h.Instance)
	l.hear(now, a.contact, h)
	if o := l.brain.view.others[h.Instance]; o == nil || o.contact != a.contact {
		l.asking.rarely(a.contact) // it is this process, a stranger, or one that is reached by another name, too
	}
}

// hear takes in what another said of itself.
func (l *loop) hear(now time.Time, from contact, h *hello) {
	switch {
	case h.Instance == l.brain.instance:
		return
	case h.Fleet != l.brain.fleet:
		l.warn(h, reachedAt(from, h), fmt.Sprintf("it is of the fleet %q, and this one of %q: have discovery show each its own", h.Fleet, l.brain.fleet))
		return
	}
	if apart := now.Sub(h.Time); apart.Abs() > clockApart && l.brain.once(h.Name+" clock") {
		l.log.Warn("the clocks of two processes are apart: set them by NTP (nothing of the cluster goes by them, but logs do)",
			"other", h.Name, "apart", apart.Round(time.Second))
	}
	l.brain.view.hear(now, from, h)
}

// warn tells of a process that does not fit, once.
func (l *loop) warn(h *hello, from contact, reason string) {
	if l.brain.once(h.Name + reason) {
		l.c.hooks.tell(l.log, RefusedInfo{Process: h.Name, Address: from.String(), Reason: reason})
	}
}

// leave begins to leave for good.
func (l *loop) leave(gone chan error) {
	if l.gone = append(l.gone, gone); len(l.gone) > 1 {
		return // it leaves already
	}
	l.brain.goes(time.Now())
	for _, o := range l.brain.orders {
		l.carryOut(o)
	}
}

// contactOf is where somebody is who came from there. The port is that of his connection: his hello has the other.
func contactOf(from net.Addr) contact {
	if tcp, ok := from.(*net.TCPAddr); ok {
		ip, _ := netip.AddrFromSlice(tcp.IP)
		host := ip.Unmap().String()
		if tcp.Zone != "" {
			host += "%" + tcp.Zone
		}
		return contact{Host: host}
	}
	return contact{Host: loopback}
}
