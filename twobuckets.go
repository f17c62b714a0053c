package rolebus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Two buckets that answer to the same requests: where a leaf node's link lets $JS.API and $KV through between two servers that
// each have JetStream, or where two leaf nodes have the same domain. Each would have its own order of what is written, and its
// own leases; which of them answers first is chance.

// places is whose answers are taken: those of one stream.
type places struct {
	mu      sync.Mutex
	known   bool      // the stream has answered
	domain  string    // of the stream
	asked   time.Time // when it was last asked who answers
	doubled error     // that two buckets answer; nil if one does
}

// askAgain is how long it is taken for granted that the same stream answers, whatever speaks against it.
const askAgain = time.Second

// bearer is a stream that answers.
type bearer struct {
	found   bool
	created time.Time
	domain  string
	server  string // that leads it
}

func (b bearer) String() string {
	if !b.found {
		return "a JetStream that has no such bucket"
	}
	if b.domain == "" {
		return fmt.Sprintf("server %q", b.server)
	}
	return fmt.Sprintf("server %q in domain %q", b.server, b.domain)
}

// alone finds out whether one stream answers, and which; an error matches ErrTwoBuckets. It cannot find out what does not answer.
func (k *kv) alone(ctx context.Context) error {
	k.places.mu.Lock()
	least := 5 * time.Millisecond
	if k.places.doubled != nil {
		least = k.soon() / 2 // the one whose answer came late before may be later still
	}
	k.places.mu.Unlock()
	who := k.bearers(ctx, least)
	if len(who) > 1 {
		who = k.bearers(ctx, least) // a leader that is just deposed may answer, too
	}
	k.places.mu.Lock()
	defer k.places.mu.Unlock()
	was := k.places.doubled
	k.places.asked = time.Now()
	switch len(who) {
	case 0:
	case 1:
		k.places.known, k.places.domain, k.places.doubled = who[0].found, who[0].domain, nil
		if was != nil {
			k.noise.log.Info("one bucket answers again", "bucket", k.subj.bucket)
		}
	default:
		k.places.doubled = fmt.Errorf("%w: %v, and %v: the link between them lets JetStream's requests through; give each JetStream a domain of its own, "+
			"and take the one that is meant (WithDomain); see docs/LAYOUTS.md", ErrTwoBuckets, who[0], who[1])
		if was == nil {
			k.noise.log.Warn("what is written is stored in two buckets, and confirmed by neither", "bucket", k.subj.bucket, "error", k.places.doubled)
		}
	}
	return k.places.doubled
}

// ack is what the server says to whoever stores a message.
type ack struct {
	domain     string
	generation uint64
}

// vouched says whether an acknowledgement, or a refusal, of a message that came after a generation is that of the bucket. What it
// says may be no more than odd: then it is found out who answers, but not too often.
func (k *kv) vouched(ctx context.Context, after uint64, a ack, err error) (uint64, error) {
	p := &k.places
	p.mu.Lock()
	odd := p.doubled != nil || !p.known || err == nil && (a.domain != p.domain || a.generation <= after) || hasConflict(err)
	asked := p.known && time.Since(p.asked) < askAgain
	p.mu.Unlock()
	if odd && !asked {
		_ = k.alone(ctx) // is looked at here
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.doubled != nil:
		return 0, p.doubled
	case err != nil:
		return 0, err
	case p.known && a.domain != p.domain:
		return 0, fmt.Errorf("%w: what was written was stored in domain %q, the bucket is in domain %q", ErrTwoBuckets, a.domain, p.domain)
	}
	return a.generation, nil
}

// lookAround finds out now and then who answers, though nothing speaks against it.
func (k *kv) lookAround(ctx context.Context) {
	const seldom = 30 * time.Second
	k.places.mu.Lock()
	lately := time.Since(k.places.asked) < seldom
	k.places.mu.Unlock()
	if !lately {
		_ = k.alone(ctx) // is looked at by who writes
	}
}

// refuses says why no record is written now: it would be stored twice.
func (k *kv) refuses(ctx context.Context) error {
	k.places.mu.Lock()
	doubled, asked := k.places.doubled, time.Since(k.places.asked) < askAgain
	k.places.mu.Unlock()
	if doubled == nil || asked {
		return doubled
	}
	return k.alone(ctx)
}

// bearers asks for the stream's info and hears who answers. It waits for another answer as long as the first one took, and
// again so long, and again, but for some time at least: they come by different ways.
func (k *kv) bearers(ctx context.Context, least time.Duration) (who []bearer) {
	ctx, cancel := context.WithTimeout(ctx, k.soon())
	defer cancel()
	ctx, stop := unlessRefused(ctx, k.nc, k.subj.streamAPI("INFO"))
	defer stop()
	answers := make(chan *nats.Msg, 16)
	inbox := k.nc.NewInbox()
	sub, err := k.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is closed already
	asked := time.Now()
	if k.nc.PublishRequest(k.subj.streamAPI("INFO"), inbox, nil) != nil {
		return nil
	}
	var quiet <-chan time.Time
	for {
		select {
		case msg := <-answers:
			b, ok := readBearer(msg.Data)
			if !ok {
				return who
			}
			if len(who) > 0 && b.found && b.created.Equal(who[0].created) {
				break // the same one
			}
			if who = append(who, b); len(who) > 1 {
				return who
			}
			quiet = time.After(max(3*time.Since(asked), least))
		case <-quiet:
			return who
		case <-ctx.Done():
			return who
		}
	}
}

// readBearer reads an answer to the question for the stream's info. Servers that have no leader all say so: those do not count.
func readBearer(body []byte) (b bearer, ok bool) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Created time.Time           `json:"created"`
		Domain  string              `json:"domain"`
		Cluster *struct {
			Leader string `json:"leader"`
		} `json:"cluster"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil:
		return b, false
	case answer.Error != nil:
		return b, answer.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound
	}
	b = bearer{found: true, created: answer.Created, domain: answer.Domain}
	if answer.Cluster != nil {
		b.server = answer.Cluster.Leader
	}
	return b, !answer.Created.IsZero()
}
