package rolebus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What may be concluded of a life, by packages that build on the bus: whether it goes on, whether it has ended, and whether the bucket can
// be believed about what it lacks.

// Lives says whether this very life of a node is known to go on: listed, or left out only because this process cannot reach it. It is, too,
// while its end is doubted. That it is not known says nothing of it.
func (snap *Snapshot) Lives(node string, incarnation uint64) bool {
	n := snap.live(node)
	return n != nil && n.id.incarnation == incarnation
}

// Buried says whether this very life of a node has ended by a tombstone that this process has judged, and of which generation that is:
// the node said goodbye, or its lease ran out while this process knew it and believed that, and had followed the server's clock for a TTL
// of the node and a third: if that was set ahead, leases end early. A tombstone of a lease that was found later is none of these, nor is what the bucket merely lacks, nor that of a life that has come back since. An end is known for an hour, and in a scope that is joined.
func (snap *Snapshot) Buried(node string, incarnation uint64) (generation uint64, is bool) {
	e := snap.ends.get(node)
	if !e.judged || e.id.incarnation != incarnation || snap.Lives(node, incarnation) {
		return 0, false
	}
	return e.generation, true
}

// Settled returns for how long what the bucket lacks has been no sign of a loss: for that long it has been there, by the server's clock, was not
// seen to go back, and this process has had no reason to doubt it ([Scope.LeaseContext] and [Snapshot.Stale] tell of those, too). What should
// stand in the bucket for longer, and whose owner would have put it back, was not there. 0 if the scope is not joined or there
// is no contact.
func (s *Scope) Settled() time.Duration {
	must(s.made())
	m := s.member.Load()
	if m == nil {
		return 0
	}
	now := time.Now()
	return min(s.bus.entries.bucketAge(now), m.trust.calm(now))
}

// Standing asks the stream's leader which life of a node has a record in the scope, which need not be joined: the incarnation, or 0 if there is no
// record, or a tombstone, or nothing that can be read; and what was heard of it last, the generation of the record or of a heartbeat, whichever
// is larger: each heartbeat that is taken has another one. The error is that of ctx or of NATS, at once nats.ErrDisconnected while there is no
// connection, or matches [ErrClosed] or [ErrBadName].
func (s *Scope) Standing(ctx context.Context, node string) (incarnation, heard uint64, err error) {
	if err := s.usable(ctx); err != nil {
		return 0, 0, failed("standing", err)
	}
	err = s.readable(ctx)
	if err == nil {
		err = checkName("node", node)
	}
	if err == nil && s.bus.nc != nil && !s.bus.Connected() {
		err = nats.ErrDisconnected
	}
	var c change
	if err == nil {
		c, heard, err = s.bus.store.lead(ctx, s.name, node)
		err = overBy(ctx, err)
	}
	if err == nil && c.kind == kindState {
		var beat uint64
		beat, err = s.bus.entries.heartbeat(ctx, s.name, node)
		if err = overBy(ctx, err); err == nil {
			return c.id.incarnation, max(heard, beat), nil
		}
	}
	return 0, 0, s.opErr(fmt.Sprintf("standing of %q", clip(node)), err)
}

// ServerTime returns the time by the clock of the bucket's servers: never earlier than theirs, and later by no more than an answer takes. It is asked for
// once a minute at the most, and carried on by this process's monotonic clock. The error is that of ctx or of NATS, if it was never told, or
// matches [ErrClosed].
func (b *Bus) ServerTime(ctx context.Context) (time.Time, error) {
	err := b.usable(ctx)
	if err == nil {
		err = b.endedOr(ctx)
	}
	if err != nil {
		return time.Time{}, failed("server time", err)
	}
	now, err := b.clock.now(ctx)
	return now, failed("server time", overBy(ctx, err))
}

// age is how long the bucket has been there, and was not seen to go back. The server's clock tells it once, and this process's monotonic
// one carries it on: clocks of servers that are set do not make it longer.
type age struct {
	mu      sync.Mutex
	created time.Time // by the server's clock; zero before it was asked
	since   time.Time // when it was made, by this process's clock, as the latest of what was told
	newest  uint64    // the newest generation that the leader has told
	told    time.Time // when it had
}

// learn takes note of what the stream's leader has answered.
func (a *age) learn(info *jetstream.StreamInfo, asked, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	since := asked.Add(-info.TimeStamp.Sub(info.Created))
	switch newest := info.State.LastSeq; {
	case !info.Created.Equal(a.created):
		a.created, a.since = info.Created, since
	case newest < a.newest && asked.After(a.told):
		a.since = now // it went back
	case since.After(a.since):
		a.since = since
	}
	if a.since.After(now) {
		a.since = now
	}
	a.newest, a.told = info.State.LastSeq, now
}

func (k *kv) heartbeat(ctx context.Context, scope, node string) (uint64, error) {
	msg, err := k.lastAtLeader(ctx, k.subj.lease(scope, node))
	if msg == nil {
		return 0, err
	}
	return msg.generation, nil
}

func (k *kv) bucketAge(now time.Time) time.Duration {
	k.age.mu.Lock()
	defer k.age.mu.Unlock()
	if k.age.created.IsZero() {
		return 0
	}
	return max(now.Sub(k.age.since), 0)
}
