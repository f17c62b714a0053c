package rolebus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// newKV makes the way to a bucket over a connection. It belongs to no fleet yet.
func newKV(t *trunk, o *options, noise *noise) (*kv, error) {
	js, err := newClient(t, func(nc *nats.Conn) (jetstream.JetStream, error) {
		return jetstream.NewWithAPIPrefix(nc, strings.TrimSuffix(o.subjects().api(""), "."), jetstream.WithDefaultTimeout(o.timeout))
	})
	if err != nil {
		return nil, err
	}
	return &kv{
		nc: t, js: js, subj: o.subjects(), timeout: o.timeout, patience: min(requestPatience(o.ttl, 0), o.timeout/3), settings: o.bucketSettings(),
		noise: noise, hooks: o.hooks, log: o.log, reads: o.observer,
	}, nil
}

// kv is the bucket on a NATS server.
type kv struct {
	nc       *trunk
	js       jetStream
	subj     subjects
	timeout  time.Duration
	patience time.Duration // how long nothing may come before a reading is asked for again, from servers that are near
	pace     *pace         // nil: they are
	settings settings
	fleet    *identity
	reads    bool // this process writes nothing at all
	noise    *noise
	hooks    *hooks
	log      *slog.Logger
	upkeep   upkeep
	age      age

	limit atomic.Int64 // the largest message that the stream takes, -1 for any; 0 before it was asked for

	noLeader   atomic.Bool               // this process may not ask the stream's leader for a message
	noConsumer atomic.Bool               // this process may not have one
	single     atomic.Bool               // the stream has no replicas: whoever answers a direct get is the leader
	mended     atomic.Pointer[time.Time] // when this process last mended the bucket's settings

	pages, deliveries plenty // of direct gets, and of consumers
	toldOnlyFirst     sync.Once

	places  places
	unheard silences // in another domain or account

	stored atomic.Uint64 // messages in the bucket, as was last told or seen: records of all scopes, and as many leases
}

// soon is how long nothing may come before a reading is asked for again.
func (k *kv) soon() time.Duration { return max(k.patience, 2*k.pace.trip()) }

func (k *kv) subscribe(ctx context.Context, scope string) (*feed, error) {
	return k.subscribeTo(ctx, k.subj.scopeChanges(scope))
}

func (k *kv) subscribeTo(ctx context.Context, subject string) (*feed, error) {
	messages := make(chan *nats.Msg, feedSize)
	before := k.nc.refusals.note(k.nc.LastError())
	sub, err := k.nc.stand(subject, "", messages, true)
	if err != nil {
		return nil, k.explain("subscribe", subject, err)
	}
	f := &feed{
		messages: messages,
		dropped:  sub.dropped,
		stop:     func() { sub.stop(true) },
	}
	// A refusal of the subscription comes before the answer to a flush.
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	if err = k.nc.FlushWithContext(ctx); err == nil {
		k.nc.refusals.note(k.nc.LastError())
		err = k.nc.refusals.since(before, subject)
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
	if err == nil && sure && (msg == nil || !k.single.Load()) {
		soon, cancel := context.WithTimeout(ctx, k.soon())
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
	_, c, _ := k.decodeStored(*msg)
	return c, msg.generation, nil
}

// decodeStored reads a message of the bucket; what is not a record is ignored and counted.
func (k *kv) decodeStored(m message) (scope string, c change, ok bool) {
	scope, c, err := decodeRecord(k.subj, m.headers, m.subject, m.body, m.generation)
	if m.garbled {
		err = errGarbled
	}
	if err == nil {
		err = m.headers.honest(m.added)
	}
	if err == nil {
		err = c.measure(m.storedAt)
	}
	if err != nil {
		k.noise.ignore(m.subject, err)
		return "", change{}, false
	}
	return scope, c, true
}

func (k *kv) put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error) {
	if err := k.refuses(ctx); err != nil {
		return 0, err
	}
	msg := recordMessage(k.subj, k.fleet.current(), scope, c, replaces)
	if k.size(msg) > k.largest() {
		c.kind = kindNotice // the record fits, see check; what changed does not fit beside it
		msg.Header[header] = []string{encodeHeader(k.fleet.current(), c)}
	}
	generation, err := k.publish(ctx, msg, replaces)
	return generation, k.explain("write", msg.Subject, err)
}

func (k *kv) arm(ctx context.Context, scope string, c change, record uint64) error {
	msg := leaseMessage(k.subj, k.fleet.current(), scope, c, record)
	_, err := k.publish(ctx, msg, record)
	return k.explain("heartbeat", msg.Subject, err)
}

func (k *kv) bury(ctx context.Context, scope string, c change, replaces uint64) error {
	msg := goodbyeMessage(k.subj, k.fleet.current(), scope, c, replaces)
	_, err := k.publish(ctx, msg, replaces)
	return k.explain("goodbye", msg.Subject, err)
}

// publish stores a message, which comes after a generation, and returns its own. It asks once: when to try again is for the
// callers to say.
func (k *kv) publish(ctx context.Context, msg *nats.Msg, after uint64) (generation uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	all := k.subj.into(k.subj.allOf(msg.Subject))
	msg.Subject = k.subj.into(msg.Subject) // its headers name what is stored
	ctx, stop := unlessRefused(ctx, k.nc, msg.Subject)
	defer stop()
	answer, err := k.nc.RequestMsgWithContext(ctx, msg)
	if err = k.reached(all, err); errors.Is(err, nats.ErrNoResponders) && !errors.As(err, new(*missingError)) {
		err = fmt.Errorf("%w: %w", jetstream.ErrNoStreamResponse, err) // as the client of JetStream says it
	}
	if err != nil {
		return 0, err
	}
	a, err := k.decodeAck(string(answer.Data))
	return k.vouched(ctx, after, a, err)
}

// decodeAck reads what the server answers to whoever stores a message: where it is, or why it is not stored.
func (k *kv) decodeAck(text string) (a ack, err error) {
	if s := (&scanner{text: text}); s.skip(`{"stream":"`) && s.skip(k.subj.stream()) && s.skip(`",`) {
		if s.skip(`"domain":`) {
			a.domain = s.string()
			s.expect(",")
		}
		s.expect(`"seq":`)
		if a.generation = s.positive(); s.skip("}") && s.text == "" && !s.lost {
			return a, nil
		}
	}
	var answer struct {
		Error    *jetstream.APIError `json:"error"`
		Stream   string              `json:"stream"`
		Domain   string              `json:"domain"`
		Sequence uint64              `json:"seq"`
	}
	switch err := json.Unmarshal([]byte(text), &answer); {
	case err == nil && answer.Error != nil:
		return ack{}, answer.Error
	case err != nil, answer.Stream == "":
		return ack{}, jetstream.ErrInvalidJSAck
	}
	return ack{answer.Domain, answer.Sequence}, nil
}

func (k *kv) check(scope string, c change) error {
	if c.roomy(k.largest()) {
		return nil
	}
	c.kind = kindNotice // what must fit is the record; an announcement can do without the change
	if size, largest := k.size(encode(k.fleet.current(), scope, c)), k.largest(); size > largest {
		return fmt.Errorf("%w: the record takes %d bytes, the server takes %d", ErrTooLarge, size, largest)
	}
	return nil
}

// size is that of a message as the server counts it.
func (k *kv) size(msg *nats.Msg) int64 {
	const others = 512 // headers that are added later, by us or by the server
	return int64(len(msg.Data) + headerSize(msg.Header) + others)
}

// largest is the size that the server takes.
func (k *kv) largest() int64 {
	largest := k.nc.MaxPayload()
	if limit := k.limit.Load(); limit > 0 && limit < largest {
		return limit
	}
	return largest
}

func headerSize(hdr nats.Header) int {
	size := len("NATS/1.0\r\n\r\n")
	for name, values := range hdr {
		size += len(name) + len(values[0]) + len(": \r\n")
	}
	return size
}

var errGarbled = errors.New("headers that cannot be read")

func (k *kv) decode(msg *nats.Msg) (change, error) {
	h := readHeaders(msg.Header)
	if !h.complete(headersCame(msg)) {
		return change{}, errGarbled
	}
	_, c, err := decodeAnnouncement(k.subj, k.fleet.current(), h, msg.Subject)
	c.stored = h.storedAt()
	return c, err
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
