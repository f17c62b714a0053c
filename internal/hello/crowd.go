package hello

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// visitor is a connection to a server.
type visitor struct {
	conn   net.Conn     // below TLS: closing it never waits
	from   netip.Prefix // what one machine has: an address, or a /64
	line   *line        // its goroutine only, as is what follows
	secret string
	mode   mode

	// Of the server's lock.
	stage     stage
	since     time.Time // of a stranger: it came; of others: its last question
	answering bool
	evicted   bool
}

// stage is how far a visitor has got.
type stage int

const (
	silent stage = iota
	speaks       // like one of ours, or TLS
	opened       // with an opening: it can be told what is wrong
	proved
)

func newVisitor(conn net.Conn) *visitor {
	v := &visitor{conn: conn}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		if a := tcp.AddrPort().Addr().Unmap(); a.Is4() {
			v.from = netip.PrefixFrom(a, 32)
		} else {
			v.from, _ = a.WithZone("").Prefix(64)
		}
	}
	return v
}

// crowd are visitors, in the order in which they came.
type crowd []*visitor

func (c *crowd) add(v *visitor) { *c = append(*c, v) }

func (c *crowd) remove(v *visitor) bool {
	i := slices.Index(*c, v)
	if i < 0 {
		return false
	}
	*c = slices.Delete(*c, i, i+1)
	return true
}

func (c *crowd) evict(v *visitor) {
	c.remove(v)
	v.evicted = true
	_ = v.conn.Close()
}

// first is who has to go for a newer one: of the machine that has most here, so that none can keep another out; of those the one that has said
// least, and the oldest of such. Nobody goes who is being answered; nil: all are.
func (c crowd) first() (first *visitor) {
	have := make(map[netip.Prefix]int)
	for _, v := range c {
		have[v.from]++
	}
	before := func(a, b *visitor) bool {
		switch {
		case have[a.from] != have[b.from]:
			return have[a.from] > have[b.from]
		case a.stage != b.stage:
			return a.stage < b.stage
		}
		return a.since.Before(b.since)
	}
	for _, v := range c {
		if !v.answering && (first == nil || before(v, first)) {
			first = v
		}
	}
	return first
}
