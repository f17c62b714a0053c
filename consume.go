package rolebus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	bulk      = 100    // more messages than this are read by a consumer
	largePage = 20_000 // messages that a consumer is asked for at a time

	consumerLife = 30 * time.Second // unused for so long, it is removed by the server
)

// consume reads messages of a subject from a generation on, by a consumer. That costs the server a little more than a page
// does, and each message a fraction; nor do writers wait meanwhile, as they do for pages. It returns the generation of the
// last message. Direct gets read what is left: all of it if there can be no consumer, for that needs a meta leader, and a
// permission. An error says that the servers have too much to do: pages would make it more.
func (k *kv) consume(ctx context.Context, subject string, from uint64, each func(message)) (last uint64, err error) {
	if k.noConsumer.Load() || k.deliveries.onlyFirst(k.nc.breaks()) {
		return last, nil
	}
	// Without replicas there is no meta leader to miss: then a server that does not answer is only busy.
	busy := func(err error) bool { return k.single.Load() && errors.Is(err, context.DeadlineExceeded) }
	name := "rolebus-" + rand.Text()
	err = k.createConsumer(ctx, name, subject, from)
	if errors.Is(err, nats.ErrPermissionViolation) {
		k.noConsumer.Store(true)
		return last, nil
	}
	// Also of one whose creation is only late. Nobody need wait for the answer; if it fails, the server does it by itself.
	defer func() { _ = k.nc.Publish(k.subj.consumerAPI("DELETE", name), nil) }()
	switch {
	case busy(err):
		return last, err
	case err != nil:
		return last, nil
	}
	ask := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"no_wait":true}`, largePage, pageBytes)
	count, dotted := uint64(0), "."+name+"."
	for all := false; !all; {
		came := count
		err := k.gather(ctx, k.subj.consumerAPI("MSG.NEXT", name), ask, largePage, &k.deliveries, func(msg *nats.Msg) (bool, error) {
			d, ok := parseDelivery(msg.Reply, dotted)
			if !ok {
				return true, nil // a status: there are no more, or they do not fit into the page
			}
			if d.place != count+1 {
				return true, errGap
			}
			count++
			last, all = d.generation, d.left == 0
			h := readHeaders(msg.Header)
			each(message{
				headers: h, garbled: !h.complete(headersCame(msg)), subject: msg.Subject, body: msg.Data, generation: last, stored: d.stored,
			})
			return all || count == came+largePage, nil
		})
		switch {
		case refused(k.nc, k.subj.consumerAPI("MSG.NEXT", name)) != nil:
			k.noConsumer.Store(true)
			return last, nil
		case busy(err):
			return last, fmt.Errorf("read: %w", err)
		case err != nil || count == came:
			return last, nil
		}
	}
	return last, nil
}

// delivery is what the server says of a message that a consumer delivers.
type delivery struct {
	generation uint64
	place      uint64 // among all that were delivered
	left       uint64 // how many are still to come
	stored     time.Time
}

// parseDelivery reads where an acknowledgement would be sent to, which has a consumer's name between two dots, and then
// numbers. nats.Msg.Metadata reads it, too, and takes many times as long: that would be a tenth of a large reading.
func parseDelivery(ack, dotted string) (d delivery, ok bool) {
	_, numbers, ok := strings.Cut(ack, dotted)
	if !ok || !strings.HasPrefix(ack, "$JS.ACK.") {
		return d, false
	}
	s := &scanner{text: numbers}
	s.number() // how often it was delivered
	s.expect(".")
	d.generation = s.number()
	s.expect(".")
	d.place = s.number()
	s.expect(".")
	d.stored = time.Unix(0, int64(s.number()))
	s.expect(".")
	d.left = s.number()
	return d, !s.lost && (s.text == "" || s.skip(".")) // newer servers say more
}

var errGap = errors.New("a message did not come")

func (k *kv) createConsumer(ctx context.Context, name, subject string, from uint64) error {
	ctx, cancel := context.WithTimeout(ctx, k.enough())
	defer cancel()
	api := k.subj.consumerAPI("CREATE", name+"."+subject)
	ctx, stop := unlessRefused(ctx, k.nc, api)
	defer stop()
	cfg := jetstream.ConsumerConfig{
		Name: name, FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: consumerLife,
	}
	if from > 1 { // else the server counts faster how many there are
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	_, err := k.js.CreateConsumer(ctx, k.subj.stream(), cfg)
	return k.explain("read", api, err)
}
