package rolebustest

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// shape is how a pipe treats what passes. The zero shape lets all pass at once.
type shape struct {
	stalled [2]bool       // by way
	delay   time.Duration // each way
	loss    float64       // how probable it is that a segment is lost
}

// way is a direction in which bytes pass.
type way int

const (
	up   way = iota // from the client to the server
	down            // from the server to the client
)

// What TCP does about a segment that is lost: it waits for some time more than a round trip and sends it again, and each
// time that it is lost again it waits twice as long. The figures are Linux's, include/net/tcp.h: TCP_RTO_MIN,
// TCP_TIMEOUT_INIT, TCP_RTO_MAX, and net.ipv4.tcp_retries2. RFC 6298 has the same rule, and 1 s for the least.
const (
	resendAfter = 200 * time.Millisecond
	reopenAfter = time.Second // the same for what makes a connection, while no round trip has been measured
	resendLast  = 2 * time.Minute
	resends     = 15

	segmentSize = 1448 // what a segment carries on an Ethernet: 1500 bytes less the headers of IP and TCP
)

// longest is the longest delay, so that sums of times cannot overflow.
const longest = 1000 * time.Hour

// chunk is what was sent at one time.
type chunk struct {
	bytes  []byte
	end    error // instead of bytes: there is nothing more
	sent   time.Time
	losses int           // how often the first segment is lost; the others wait behind it
	resend time.Duration // after how long more than a round trip it is sent again the first time
}

// late returns how much later than it was sent a chunk arrives, if nothing before it is later.
func (s shape) late(c chunk) time.Duration {
	late := s.delay
	if s.loss == 0 {
		return late // also what was lost before
	}
	wait := c.resend + 2*s.delay
	for range c.losses {
		wait = min(wait, resendLast)
		late += wait
		wait *= 2
	}
	return late
}

// losses returns how often one segment is lost.
func (s shape) losses() int {
	n := 0
	for n < resends && rand.Float64() < s.loss {
		n++
	}
	return n
}

// open returns what stands for the segment by which the server learns of a new connection.
func (s shape) open(now time.Time) chunk {
	return chunk{sent: now, losses: s.losses(), resend: reopenAfter}
}

// last returns what stands for the segment that says that there are no more.
func (s shape) last(err error, now time.Time) chunk {
	return chunk{end: err, sent: now, losses: s.losses(), resend: resendAfter}
}

// send makes chunks of what was sent. All but the first begin with a segment that is lost.
func (s shape) send(sent []byte, now time.Time) []chunk {
	if len(sent) == 0 {
		return nil
	}
	sent = slices.Clone(sent)
	first := chunk{bytes: sent, sent: now, resend: resendAfter}
	if s.loss == 0 {
		return []chunk{first}
	}
	first.losses = s.losses()
	chunks, start := []chunk{first}, 0
	for at := segmentSize; at < len(sent); at += segmentSize {
		if n := s.losses(); n > 0 {
			chunks[len(chunks)-1].bytes = sent[start:at]
			chunks = append(chunks, chunk{bytes: sent[at:], sent: now, losses: n, resend: resendAfter})
			start = at
		}
	}
	return chunks
}

// shapeFunc returns how something is treated now, and a channel that is closed when that changes.
type shapeFunc func() (shape, <-chan struct{})

// await waits until a chunk may arrive on these ways; it returns false if ctx ends first.
func (f shapeFunc) await(ctx context.Context, c chunk, ways ...way) bool {
	for {
		s, changed := f()
		var due <-chan time.Time // never, while it is stalled
		if !slices.ContainsFunc(ways, func(w way) bool { return s.stalled[w] }) {
			wait := time.Until(c.sent.Add(s.late(c)))
			if wait <= 0 {
				return ctx.Err() == nil
			}
			due = time.After(wait)
		}
		select {
		case <-due:
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
