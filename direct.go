package rolebus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pageSize  = 1000    // messages asked for at a time
	pageBytes = 8 << 20 // a page ends with the message that reaches this; far below what a server holds back for a client
)

// message is a message of the bucket.
type message struct {
	headers    headers // its own, and those that the server added
	garbled    bool    // there are headers that were not read
	added      int     // how often the server added each of those by which it says what a message is
	subject    string
	body       []byte
	generation uint64
	at         string    // when it was stored, as the server writes it
	stored     time.Time // or as it is
}

func (m *message) storedAt() (time.Time, error) {
	if !m.stored.IsZero() {
		return m.stored, nil
	}
	return time.Parse(time.RFC3339Nano, m.at)
}

// page is what came of a direct get. Any replica answers one, also while there is no leader.
type page struct {
	each    func(message) // is given the messages, as they come
	last    uint64        // the generation of the last one, be it readable or not; 0 if there is none
	garbled bool          // a message that cannot be told from another one came after that
}

// last returns the newest message of a subject, nil if there is none.
func (k *kv) last(ctx context.Context, subject string) (*message, error) {
	return k.lastBy(ctx, k.subj.directGet()+"."+subject, nil, subject)
}

// lastBy returns what an answer to a direct get has for the newest message of a subject, nil if there is none.
func (k *kv) lastBy(ctx context.Context, api string, ask []byte, subject string) (*message, error) {
	var found *message
	p, err := k.direct(ctx, api, ask, 1, func(m message) { found = &m })
	switch {
	case errors.Is(err, errMirror):
		return k.lastOfLeader(ctx, subject)
	case p.garbled && err == nil:
		return k.lastGarbled(ctx, subject)
	}
	return found, err
}

// lastAtLeader returns the newest message of a subject as the stream's leader has it, nil if there is none.
func (k *kv) lastAtLeader(ctx context.Context, subject string) (*message, error) {
	if k.single.Load() { // at a fraction of the cost
		m, err := k.last(ctx, subject)
		if m != nil || err != nil {
			return m, err
		}
		// A mirror that has nothing does not say that it is one.
	}
	return k.lastOfLeader(ctx, subject)
}

func (k *kv) lastOfLeader(ctx context.Context, subject string) (*message, error) {
	if !k.noLeader.Load() {
		m, err := k.atLeader(ctx, fmt.Appendf(nil, `{"last_by_subj":%q}`, subject))
		if !k.mayNotAsk(err) {
			return m, err
		}
	}
	return k.last(ctx, subject)
}

// nextAtLeader returns the first message of a subject from a generation on as the stream's leader has it; nil if there is
// none, and if no leader answers soon.
func (k *kv) nextAtLeader(ctx context.Context, subject string, from uint64) *message {
	ctx, cancel := context.WithTimeout(ctx, k.soon())
	defer cancel()
	if k.noLeader.Load() {
		return nil
	}
	m, err := k.atLeader(ctx, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, max(from, 1), subject))
	if k.mayNotAsk(err) || err != nil {
		return nil
	}
	return m
}

// mayNotAsk says whether this process may not ask the stream's leader, which it does not try again then: what any replica has
// must do.
func (k *kv) mayNotAsk(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) && !errors.As(err, new(*missingError)) {
		return false
	}
	k.noLeader.Store(true)
	return true
}

// atLeader asks the stream's leader for a message.
func (k *kv) atLeader(ctx context.Context, ask []byte) (*message, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	api := k.subj.streamAPI("MSG.GET")
	ctx, stop := unlessRefused(ctx, k.nc, api)
	defer stop()
	msg, err := k.nc.RequestWithContext(ctx, api, ask)
	if err != nil {
		return nil, k.explain("read", api, err)
	}
	var answer struct {
		Error   *jetstream.APIError
		Message *struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Hdrs    []byte `json:"hdrs"`
			Data    []byte `json:"data"`
			Time    string `json:"time"`
		}
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return nil, fmt.Errorf("read: the answer of the stream's leader: %w", err)
	}
	switch stored := answer.Message; {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case answer.Error != nil:
		return nil, k.explain("read", api, answer.Error)
	case stored == nil:
		return nil, errors.New("read: the stream's leader answers, but with nothing")
	default:
		m := &message{subject: stored.Subject, body: stored.Data, generation: stored.Seq, at: stored.Time}
		if len(stored.Hdrs) > 0 {
			hdr, err := nats.DecodeHeadersMsg(stored.Hdrs)
			m.headers = readHeaders(hdr)
			m.garbled = err != nil || !m.headers.complete(len(stored.Hdrs))
		}
		return m, nil
	}
}

// lastGarbled finds out the generation of a message that does not tell: the end of a page does.
func (k *kv) lastGarbled(ctx context.Context, subject string) (*message, error) {
	m := &message{subject: subject}
	for {
		p, err := k.nextPage(ctx, subject, m.generation+1, pageSize, func(message) {})
		if err != nil || p.last == 0 {
			return m, err
		}
		m.generation = p.last
	}
}

// nextPage reads the messages of a subject from a generation on: the first of them, in order, so many at the most, or none.
func (k *kv) nextPage(ctx context.Context, subject string, from uint64, most int, each func(message)) (page, error) {
	ask := fmt.Sprintf(`{"seq":%d,"next_by_subj":%q,"batch":%d,"max_bytes":%d}`, max(from, 1), subject, most, pageBytes)
	if k.pages.onlyFirst(k.nc.breaks()) { // a batch has an end, and that would not come either
		most, ask = 1, fmt.Sprintf(`{"seq":%d,"next_by_subj":%q}`, max(from, 1), subject)
		k.tellOnlyFirst()
	}
	p, err := k.direct(ctx, k.subj.directGet(), []byte(ask), most, each)
	if errors.Is(err, errMirror) || err == nil && p.garbled && p.last == 0 { // a single message does not tell, if it cannot be read
		return k.pageOfLeader(ctx, subject, from, each)
	}
	return p, err
}

// errMirror says that a direct get was answered by a mirror of the stream. Every mirror of one that allows direct gets does so, and for
// some clients, who are near to it, always. It may lag for hours, and it still answers when the stream is deleted: then nothing
// that it has is so any more.
var errMirror = errors.New("a mirror answers in the place of the stream")

// pageOfLeader reads what nextPage does by a consumer, of which mirrors know nothing, or one message from the leader if there can
// be none. It may be more than was asked for.
func (k *kv) pageOfLeader(ctx context.Context, subject string, from uint64, each func(message)) (p page, err error) {
	if p.last, err = k.consume(ctx, subject, from, each); err != nil || p.last > 0 {
		return p, err
	}
	if k.noLeader.Load() {
		return p, nil
	}
	m, err := k.atLeader(ctx, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, max(from, 1), subject))
	if k.mayNotAsk(err) {
		err = nil
	}
	if m != nil {
		each(*m)
		p.last = m.generation
	}
	return p, err
}

// direct asks, and asks again when nothing came for a while: who had the request or the answer may be gone.
func (k *kv) direct(ctx context.Context, api string, ask []byte, most int, each func(message)) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	kind := k.subj.directGet()
	if api != kind {
		kind += ".>"
	}
	for {
		p := page{each: each}
		err := k.reached(kind, k.directOnce(ctx, api, ask, most, &p))
		if !errors.Is(err, nats.ErrTimeout) || refused(k.nc, api) != nil {
			return p, k.explain("read", api, err)
		}
	}
}

// directOnce asks for a single message or for a page. If some of a page do not come, it ends before those.
func (k *kv) directOnce(ctx context.Context, api string, ask []byte, most int, p *page) error {
	var many *plenty
	if most > 1 {
		many = &k.pages
	}
	err := k.gather(ctx, api, ask, most, many, func(msg *nats.Msg) (done bool, err error) {
		h := readHeaders(msg.Header)
		switch {
		case !h.complete(headersCame(msg)):
			k.noise.ignore(api, errGarbled)
			p.garbled = true
		case h.stream != "" && h.stream != k.subj.stream(): // a message can hide that
			err = errMirror
		default:
			done, err = p.take(msg, h, most > 1)
		}
		return done || most == 1, err
	})
	if errors.Is(err, errOnlyFirst) || errors.Is(err, nats.ErrTimeout) && p.last > 0 {
		return nil
	}
	return err
}

// errOnlyFirst says that of many answers no more than the first came.
var errOnlyFirst = errors.New("only the first answer came")

// gather asks, and hands on the answers, of which there are so many at the most and one that ends them, until it is told
// that one was the last. If none comes for a while, or the connection was lost, it returns nats.ErrTimeout: to ask again may
// help. Where it does not, because there is only one server, which has much to do, it waits for longer, and returns
// context.DeadlineExceeded. If many is not nil there is more than one answer; where
// it is not known that these come, the second one is not waited for as long, and errOnlyFirst says that it did not come.
func (k *kv) gather(ctx context.Context, api string, ask []byte, most int, many *plenty, take func(*nats.Msg) (done bool, err error)) error {
	ctx, stop := unlessRefused(ctx, k.nc, api)
	defer stop()
	answers := make(chan *nats.Msg, most+1) // none is dropped
	inbox := k.nc.NewInbox()
	sub, err := k.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is closed already
	connection, silent, asked := k.nc.breaks(), time.Duration(0), time.Now()
	if err := k.nc.PublishRequest(api, inbox, ask); err != nil {
		return err
	}
	patience := k.soon()
	idle := time.NewTimer(patience)
	defer idle.Stop()
	for came, before := 0, 0; ; {
		select {
		case msg := <-answers:
			for n := len(answers); ; n-- { // and those that wait behind it
				if came++; came == 2 {
					many.several()
				}
				if done, err := take(msg); done || err != nil {
					return err
				}
				if n == 0 {
					break
				}
				msg = <-answers
			}
			if came == 1 && many.doubted() {
				idle.Reset(min(patience, max(4*time.Since(asked), 100*time.Millisecond)))
			}
		case <-idle.C:
			if came == 1 && many.doubted() && k.nc.breaks() == connection {
				many.first(connection)
				return errOnlyFirst
			}
			if silent += patience; came > before {
				silent = 0
			}
			if came == 1 && silent >= k.enough() {
				many.first(connection)
			}
			switch {
			case k.nc.breaks() != connection, refused(k.nc, api) != nil:
				return nats.ErrTimeout
			case silent >= k.enough() && k.single.Load():
				return context.DeadlineExceeded
			case silent >= k.enough():
				return nats.ErrTimeout
			}
			before = came
			idle.Reset(patience)
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// enough is how long nothing may come before a question counts as lost. Without replicas nobody else is there to be asked, and
// the server that has it has only much to do.
func (k *kv) enough() time.Duration {
	if k.single.Load() {
		return k.timeout
	}
	return k.soon()
}

// take adds an answer to the page. It says whether that is the last one, because it says so or because others did not come.
func (p *page) take(msg *nats.Msg, h headers, batch bool) (done bool, err error) {
	if h.sequence == "" {
		return true, p.end(msg.Header, h)
	}
	m := message{headers: h, added: 1, subject: h.subject, body: msg.Data, at: h.at}
	var errs [2]error
	before := p.last
	m.generation, errs[0] = strconv.ParseUint(h.sequence, 10, 64)
	if batch {
		before, errs[1] = strconv.ParseUint(h.before, 10, 64)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return true, fmt.Errorf("the answer to a direct get: %w", err)
	}
	if before != p.last && !p.garbled {
		return true, nil
	}
	p.each(m)
	p.last, p.garbled = m.generation, false
	return false, nil
}

// end takes the answer that is no message: why there are none, or no more.
func (p *page) end(hdr nats.Header, h headers) (err error) {
	switch status := newestOf(hdr["Status"]); status {
	case "204":
		if p.garbled {
			p.last, err = strconv.ParseUint(h.before, 10, 64)
		}
		return err
	case "404":
		return nil
	case "503":
		return nats.ErrNoResponders
	default:
		return fmt.Errorf("the server answers: %s %s", status, newestOf(hdr["Description"]))
	}
}
