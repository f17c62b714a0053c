package exclusive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// What is asked of others before a post is claimed, and what is told of it.

// inquire asks what must be known besides before a post is claimed. It returns the generation that the claim is to replace.
func (b *book) inquire(ctx context.Context, sh entries, p post, known standing, v verdict) (base uint64, err error) {
	if v.confirm {
		within, cancel := context.WithTimeout(ctx, requestPatience)
		incarnation, heard, err := b.scope.Standing(within, known.claim.node)
		cancel()
		if err != nil {
			return 0, err
		}
		if incarnation != known.claim.incarnation {
			heard = 0
		}
		if lives := b.confirm(p, known.claim, heard); lives || !v.may {
			return 0, errAgain
		}
	}
	if base = known.base; base == 0 {
		if base, err = b.mark(ctx, sh, p); err != nil {
			return 0, err
		}
	}
	silence := askPatience
	if v.answer || known.base == 0 {
		silence = b.longest()
	}
	if err := b.ask(ctx, p, silence); err != nil || b.says(p) {
		return base, err
	}
	by := b.line()
	recalled, err := b.recollect(ctx, p)
	if recalled {
		return 0, errAgain
	}
	if err == nil {
		b.heardOut(p, by)
	}
	return base, err
}

// mark puts something where nothing stands, before anybody is asked, and returns its generation. A claim that replaces it, and not nothing, says that
// nothing came between: else somebody may have claimed the post since it was asked, and the bucket have lost that, too.
func (b *book) mark(ctx context.Context, sh entries, p post) (uint64, error) {
	generation, err := b.write(ctx, sh, p, noClaim, 0, true)
	if err == nil {
		return generation, nil
	}
	if rerr := b.refresh(ctx, sh, p); rerr != nil {
		return 0, rerr
	}
	return 0, err
}

// says says whether the bucket says of a post what counts. Else it has lost something, or nobody ever had it. It may also have gone back to before that,
// since an hour ago, of which this process knows nothing if it was not there, and had nobody tell it.
func (b *book) says(p post) bool {
	settled, by := b.scope.Settled(), b.line()
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	return k.said && (settled >= endMemory || k.toldBy == by)
}

// heardOut takes note that the others were asked what they remember of a post.
func (b *book) heardOut(p post, by line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entryLocked(p).toldBy = by
}

// askPatience is how long whoever holds a post has to say so where all else says that nobody does: what the bucket says may be older than
// what it has lost.
const askPatience = 200 * time.Millisecond

// confirm takes in what was heard last of the life of a claim.
func (b *book) confirm(p post, c claim, heard uint64) (lives bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	return k.claim != c || k.standing.confirm(heard, time.Now())
}

// ask finds out whether somebody holds a post. Nobody does if the servers say that nobody listens, or if
// there is no answer for so long: where nothing else says so, as long as a holder is certain without a heartbeat: one that got through brings the question, too. So whoever
// looks at all that is sent, and answers nothing, or rubbish, is no reason to wait for ever.
func (b *book) ask(ctx context.Context, p post, silence time.Duration) error {
	if !b.bus.Connected() {
		return nats.ErrDisconnected
	}
	line, subject := b.line(), b.scope.Subject(p.kind, p.name)
	before := line.nc.LastError()
	within, cancel := context.WithTimeout(ctx, silence/askings)
	msg, err := line.nc.RequestWithContext(within, subject, nil)
	cancel()
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil // what was written since the bucket was read last the write finds out
	case err == nil:
		if b.answered(p, msg) {
			return errAgain
		}
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return err
	}
	err = listenFor(ctx, line.nc, subject, silence, before, func(msg *nats.Msg) bool { return b.answered(p, msg) })
	switch {
	case err != nil:
		return err
	case !b.bus.Connected() || line != b.line():
		return nats.ErrDisconnected // it may not have been asked, or its answer was lost
	}
	return nil
}

// longest is the largest TTL that is known.
func (b *book) longest() time.Duration {
	ttl := longestTTL(b.scope.Snapshot())
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(ttl, b.largest, time.Second)
}

// askings is how often the question is put, in the time that whoever might answer has.
const askings = 5

// listenFor puts a question again and again, and takes all answers, until one is one, or the servers say that nobody listens, or the time is
// over. That the servers do not take the question is no silence: before is the last error before it was put first.
func listenFor(ctx context.Context, nc *nats.Conn, subject string, silence time.Duration, before error, answer func(*nats.Msg) bool) error {
	inbox, answers := nc.NewInbox(), make(chan *nats.Msg, 256)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails if the connection has ended
	enough := time.NewTimer(silence)
	defer enough.Stop()
	again := time.NewTicker(silence / askings)
	defer again.Stop()
	for {
		if err := refused(nc, subject, before); err != nil {
			return err
		}
		if err := nc.PublishRequest(subject, inbox, nil); err != nil {
			return err
		}
		for asked := true; asked; {
			select {
			case msg := <-answers:
				switch {
				case msg.Header.Get("Status") == "503" && len(msg.Data) == 0:
					return nil
				case answer(msg):
					return errAgain
				}
			case <-again.C:
				asked = false
			case <-enough.C:
				return refused(nc, subject, before)
			case <-ctx.Done():
				return ended(ctx)
			}
		}
	}
}

// refused returns that the servers do not permit a subject, if they have said so since the last error before. A connection remembers only the
// newest: so it is asked often.
func refused(nc *nats.Conn, subject string, before error) error {
	if err := nc.LastError(); err != before && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`) {
		return err
	}
	return nil
}

// flush waits until the server has taken, or refused, all that was sent.
func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

// permit adds to an error that the servers do not permit something what does.
func permit(err error) error {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	return fmt.Errorf("%w (docs/PROTOCOL.md has the permissions that terms need)", err)
}

// answered takes in an answer; false if it is none.
func (b *book) answered(p post, msg *nats.Msg) bool {
	c, err := decodeClaim(string(msg.Data))
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	was := k.standing
	k.recall(c, time.Now())
	b.lookLocked(k, b.scope.Snapshot(), time.Now())
	if was != k.standing {
		k.wake()
	}
	return true
}

// refusals is what keeps a campaign, or a member, from claiming what is free.
type refusals struct {
	last  error
	count int
}

const refusalsToTell = 3 // in a row: what passes is no news

// note takes in why a claim could not be made, or that it was. It returns what is to be told of that; nil if nothing is.
func (r *refusals) note(err error) (tell error) {
	if err == nil || errors.Is(err, errAgain) || errors.Is(err, rolebus.ErrConflict) || errors.Is(err, rolebus.ErrLeaseLost) || errors.Is(err, nats.ErrDisconnected) {
		r.last, r.count = nil, 0
		return nil
	}
	r.last = permit(err)
	if r.count++; r.count == refusalsToTell {
		return r.last
	}
	return nil
}

// join has an error tell what came before.
func (r *refusals) join(err error) error {
	return beside(err, r.last)
}

// beside is the error with which a wait ends, with what it waited for.
func beside(err, reason error) error {
	if reason == nil || errors.Is(reason, err) {
		return err
	}
	return fmt.Errorf("%w; before that: %w", err, reason)
}
