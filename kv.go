package rolebus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// store is what a scope needs of the bucket. kv is the one that talks JetStream; tests have another.
type store interface {
	// subscribe starts to hear the announcements of a scope.
	subscribe(ctx context.Context, scope string) (*feed, error)
	// newest returns the generation of the record of the scope that was written last; 0 if it has none. To be sure it asks
	// the stream's leader, too, if that answers soon: a replica that was damaged may lack what was written last.
	newest(ctx context.Context, scope string, sure bool) (uint64, error)
	// read returns the records of the scope whose generation is at least from, in that order, up to at least the
	// generation to, and the generation of the last one.
	read(ctx context.Context, scope string, from, to uint64) ([]change, uint64, error)
	// get returns a node's record, which is the zero change if there is none or it cannot be read, and its generation.
	get(ctx context.Context, scope, node string) (change, uint64, error)
	// lead returns the same as get, as the stream's leader has it. A replica that lags, or was damaged, has less.
	lead(ctx context.Context, scope, node string) (change, uint64, error)
	// put writes a record in the place of the one of a generation, else errConflict.
	put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error)
	// arm sets the dead-man's switch: when c is due by the server's clock, it writes c over the record, provided now,
	// not then, that the record is of a generation, else errConflict.
	arm(ctx context.Context, scope string, c change, record uint64) error
	// bury writes a tombstone in the place of the record of a generation, and disarms the switch.
	bury(ctx context.Context, scope string, c change, replaces uint64) error
	// now returns the server's clock.
	now(ctx context.Context) (time.Time, error)
	// pulse asks the stream's leader how it is.
	pulse(ctx context.Context) (pulse, error)
	// ensure makes the bucket if it is missing, or mends its settings.
	ensure(ctx context.Context) error
	// check returns ErrTooLarge if the message that stores c is larger than the server takes.
	check(scope string, c change) error
	// decode reads an announcement.
	decode(msg *nats.Msg) (change, error)
}

// pulse is what the stream's leader says of itself.
type pulse struct {
	now    time.Time     // its clock
	newest uint64        // the generation of what was stored last
	quiet  time.Duration // how long ago that was, or the bucket was made
	leads  time.Duration // for how long it has been the leader; forEver if there never was another
}

const forEver = time.Duration(math.MaxInt64)

// feed is a subscription to the announcements of one scope.
type feed struct {
	messages chan *nats.Msg
	dropped  <-chan nats.SubStatus // a message was dropped, because the scope's loop fell behind
	stop     func()
}

const (
	feedSize     = 4096 // announcements that may wait for a scope's loop
	tombstoneTTL = "1h" // endMemory
)

// kv is the bucket on a NATS server.
type kv struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	subj     subjects
	timeout  time.Duration
	patience time.Duration // how long nothing may come before a reading is asked for again
	settings settings
	ensured  bool  // the first ensure is done
	limit    int64 // the largest message that the stream takes, -1 for any; set by the first ensure
	noise    *noise

	noConsumer atomic.Bool // this process may not have one
	single     atomic.Bool // the stream has no replicas: whoever answers a direct get is the leader

	stored atomic.Uint64 // messages in the bucket, as was last told or seen: records of all scopes, and as many leases
}

func (k *kv) subscribe(ctx context.Context, scope string) (*feed, error) {
	subject := k.subj.scopeChanges(scope)
	messages := make(chan *nats.Msg, feedSize)
	before := k.nc.LastError()
	sub, err := k.nc.ChanSubscribe(subject, messages)
	if err != nil {
		return nil, k.explain("subscribe", subject, err)
	}
	f := &feed{
		messages: messages,
		dropped:  sub.StatusChanged(nats.SubscriptionSlowConsumer),
		stop:     func() { _ = sub.Unsubscribe() }, // fails only if the connection is closed already
	}
	// A refusal of the subscription comes before the answer to a flush.
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	if err = k.nc.FlushWithContext(ctx); err == nil && k.nc.LastError() != before {
		err = refused(k.nc, subject)
	}
	if errors.Is(err, nats.ErrConnectionClosed) && !k.nc.IsClosed() {
		// What nats.go 1.55 says of a flush that was under way when the connection was lost.
		err = fmt.Errorf("%w: %w", nats.ErrDisconnected, err)
	}
	if err != nil {
		f.stop()
		return nil, k.explain("subscribe", subject, err)
	}
	return f, nil
}

func (k *kv) newest(ctx context.Context, scope string, sure bool) (uint64, error) {
	subject := k.subj.scopeRecords(scope)
	msg, err := k.last(ctx, subject)
	if err == nil && sure && !k.single.Load() {
		soon, cancel := context.WithTimeout(ctx, k.patience)
		defer cancel()
		if atLeader, err := k.lastAtLeader(soon, subject); err == nil {
			msg = atLeader
		}
	}
	if msg == nil {
		return 0, err
	}
	return msg.generation, nil
}

func (k *kv) get(ctx context.Context, scope, node string) (change, uint64, error) {
	return k.record(k.last(ctx, k.subj.record(scope, node)))
}

func (k *kv) lead(ctx context.Context, scope, node string) (change, uint64, error) {
	return k.record(k.lastAtLeader(ctx, k.subj.record(scope, node)))
}

func (k *kv) record(msg *message, err error) (change, uint64, error) {
	if msg == nil {
		return change{}, 0, err
	}
	c, _ := k.decodeStored(*msg)
	return c, msg.generation, nil
}

// decodeStored reads a message of the bucket; what is not a record is ignored and counted.
func (k *kv) decodeStored(m message) (change, bool) {
	_, c, err := decodeRecord(k.subj, m.hdr, m.subject, m.body, m.generation)
	if m.garbled {
		err = errGarbled
	}
	if err == nil {
		err = honest(m.hdr, m.added)
	}
	if err == nil {
		err = c.measure(m.hdr, m.storedAt)
	}
	if err != nil {
		k.noise.ignore(m.subject, err)
		return change{}, false
	}
	return c, true
}

func (k *kv) read(ctx context.Context, scope string, from, to uint64) (changes []change, last uint64, err error) {
	subject, overdue, waited := k.subj.scopeRecords(scope), time.Now().Add(k.timeout), false
	take := func(m message) {
		if c, ok := k.decodeStored(m); ok {
			changes = append(changes, c)
		}
	}
	if many := min(to-from, k.stored.Load()/2); many > bulk {
		changes = slices.Grow(changes, int(min(many, largePage)))
		if last, err = k.consume(ctx, subject, from, take); err != nil {
			return nil, 0, err
		}
	}
	for size, wait := bulk, firstRetry/2; last < to; {
		came := 0
		p, err := k.nextPage(ctx, subject, max(from, last+1), size, func(m message) { came++; take(m) })
		if err != nil {
			return nil, 0, err
		}
		if came == size && size == bulk && p.last < to { // there are more than was told
			size = pageSize
			k.stored.Store(max(k.stored.Load(), 4*bulk))
			more, err := k.consume(ctx, subject, p.last+1, take)
			if err != nil {
				return nil, 0, err
			}
			p.last = max(p.last, more)
		}
		if p.last == 0 && waited {
			if m := k.nextAtLeader(ctx, subject, max(from, last+1)); m != nil {
				take(*m)
				p.last = m.generation
			}
		}
		if p.last > 0 {
			last, wait, overdue = p.last, firstRetry/2, time.Now().Add(k.timeout)
			continue
		}
		// They are on their way to the replica that was asked, or were purged meanwhile.
		if err := context.DeadlineExceeded; time.Now().After(overdue) {
			return nil, 0, fmt.Errorf("read: no record of generation %d came: %w", to, err)
		}
		if !sleep(ctx, wait) {
			return nil, 0, fmt.Errorf("read: no record of generation %d came: %w", to, context.Cause(ctx))
		}
		wait, waited = min(2*wait, lastRetry), true
	}
	return changes, last, nil
}

func (k *kv) put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error) {
	hdr, body := encode(scope, c)
	if k.size(hdr, body) > k.largest() {
		c.kind = kindNotice // the record fits, see check; what changed does not fit beside it
		hdr = encodeHeaders(c)
	}
	subject := k.subj.record(scope, c.node)
	expect(hdr, replaces, "")
	ack, err := k.publish(ctx, &nats.Msg{Subject: subject, Header: hdr, Data: body})
	if err != nil {
		return 0, k.explain("write", subject, err)
	}
	return ack.Sequence, nil
}

func (k *kv) arm(ctx context.Context, scope string, c change, record uint64) error {
	hdr, body := encode(scope, c)
	target, subject := k.subj.record(scope, c.node), k.subj.lease(scope, c.node)
	hdr.Set("Nats-Schedule", "@at "+c.due.UTC().Format(time.RFC3339Nano))
	hdr.Set("Nats-Schedule-Target", target)
	hdr.Set("Nats-Schedule-TTL", tombstoneTTL)
	hdr.Set("KV-Operation", "DEL")
	expect(hdr, record, target)
	_, err := k.publish(ctx, &nats.Msg{Subject: subject, Header: hdr, Data: body})
	return k.explain("heartbeat", subject, err)
}

func (k *kv) bury(ctx context.Context, scope string, c change, replaces uint64) error {
	hdr, body := encode(scope, c)
	subject := k.subj.record(scope, c.node)
	hdr.Set("KV-Operation", "DEL")
	hdr.Set("Nats-TTL", tombstoneTTL)
	hdr.Set("Nats-Scheduler", k.subj.lease(scope, c.node))
	hdr.Set("Nats-Schedule-Next", "purge")
	expect(hdr, replaces, "")
	_, err := k.publish(ctx, &nats.Msg{Subject: subject, Header: hdr, Data: body})
	return k.explain("goodbye", subject, err)
}

func expect(hdr nats.Header, generation uint64, subject string) {
	hdr.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(generation, 10))
	if subject != "" {
		hdr.Set("Nats-Expected-Last-Subject-Sequence-Subject", subject)
	}
}

func (k *kv) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if !k.nc.IsConnected() {
		// The client would keep it and send it later. A heartbeat that comes late is a switch that fires at once.
		return nil, nats.ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	return k.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
}

func (k *kv) check(scope string, c change) error {
	if c.roomy(k.largest()) {
		return nil
	}
	c.kind = kindNotice // what must fit is the record; an announcement can do without the change
	hdr, body := encode(scope, c)
	if size, largest := k.size(hdr, body), k.largest(); size > largest {
		return fmt.Errorf("%w: the record takes %d bytes, the server takes %d", ErrTooLarge, size, largest)
	}
	return nil
}

// size is that of a message as the server counts it.
func (k *kv) size(hdr nats.Header, body []byte) int64 {
	const others = 512 // headers that are added later, by us or by the server
	return int64(len(body) + headerSize(hdr) + others)
}

// largest is the size that the server takes.
func (k *kv) largest() int64 {
	if limit := k.nc.MaxPayload(); k.limit < 0 || limit < k.limit {
		return limit
	}
	return k.limit
}

func headerSize(hdr nats.Header) int {
	size := len("NATS/1.0\r\n\r\n")
	for name, values := range hdr {
		size += len(name) + len(values[0]) + len(": \r\n")
	}
	return size
}

func (k *kv) now(ctx context.Context) (time.Time, error) {
	info, err := k.info(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return info.TimeStamp, nil
}

func (k *kv) pulse(ctx context.Context) (pulse, error) {
	info, err := k.info(ctx)
	if err != nil {
		return pulse{}, err
	}
	last := info.State.LastTime
	if last.Before(info.Created) {
		last = info.Created
	}
	p := pulse{now: info.TimeStamp, newest: info.State.LastSeq, quiet: info.TimeStamp.Sub(last), leads: forEver}
	const election = 5 * time.Second
	if c := info.Cluster; c != nil && c.LeaderSince != nil && c.LeaderSince.Sub(info.Created) > election {
		p.leads = info.TimeStamp.Sub(*c.LeaderSince)
	}
	return p, nil
}

// info returns what the stream's leader says of the stream.
func (k *kv) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	stream, err := k.js.Stream(ctx, k.subj.stream())
	if err != nil {
		return nil, k.explain("ask the stream's leader", "$JS.API.STREAM.INFO."+k.subj.stream(), err)
	}
	info := stream.CachedInfo()
	k.stored.Store(info.State.Msgs)
	k.single.Store(info.Config.Replicas == 1 && (info.Cluster == nil || len(info.Cluster.Replicas) == 0))
	return info, nil
}

var errGarbled = errors.New("headers that cannot be read")

func (k *kv) decode(msg *nats.Msg) (change, error) {
	if !whole(msg) {
		return change{}, errGarbled
	}
	_, c, err := decodeAnnouncement(k.subj, msg.Header, msg.Subject)
	return c, err
}

// refused returns the server's refusal of a subject, if that is the last thing that it refused on a connection.
func refused(nc *nats.Conn, subject string) error {
	err := nc.LastError()
	if errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`) {
		return err
	}
	return nil
}

// codes of the server's API that nats.go has no name for.
const (
	codeNoPeers     jetstream.ErrorCode = 10005
	codeNotReplicas jetstream.ErrorCode = 10074
)

// explain turns an error of NATS into one of ours, beside which the cause stays matchable.
func (k *kv) explain(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence), hasCode(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return fmt.Errorf("%s: %w: %w", op, errConflict, err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%s: %w: %w: %w", op, errNoBucket, errDeleted, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%s: %w: %w", op, errNoBucket, err)
	case hasCode(err, jetstream.JSErrCodeStreamMessageExceedsMaximum), errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%s: %w: %w", op, ErrTooLarge, err)
	}
	// The server refuses a publish without an answer to it; the request then runs into its timeout.
	if refusal := refused(k.nc, subject); refusal != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%s: %w: %w", op, refusal, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// sleep waits; false if ctx was over first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
