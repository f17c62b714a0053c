package rolebus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What the server refuses by a subject. It says so beside all answers, and a connection remembers only the last one.

// refusedSubjects are those of late. nats.go tells a connection of our own of each; of one that was brought, those are known that
// stood last when somebody looked.
type refusedSubjects struct {
	mu    sync.Mutex
	count uint64
	last  error
	of    map[string]refusedSubject
}

type refusedSubject struct {
	err    error
	number uint64 // in the order in which they came
	at     time.Time
}

const (
	mostRefusals = 64
	refusedFor   = 10 * time.Second // what was refused longer ago may be permitted by now
)

// note takes note of what a connection says, which may be a refusal, and may be known. It returns how many came so far.
func (r *refusedSubjects) note(err error) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || err == r.last || !errors.Is(err, nats.ErrPermissionViolation) {
		return r.count
	}
	_, after, _ := strings.Cut(err.Error(), `"`)
	subject, _, found := strings.Cut(after, `"`)
	subject = atItsServer(subject)
	if !found || r.of[subject].err == err {
		return r.count
	}
	if r.of == nil {
		r.of = map[string]refusedSubject{}
	}
	r.count++
	r.last, r.of[subject] = err, refusedSubject{err, r.count, time.Now()}
	if len(r.of) > mostRefusals {
		oldest := subject
		for other, of := range r.of {
			if of.number < r.of[oldest].number {
				oldest = other
			}
		}
		delete(r.of, oldest)
	}
	return r.count
}

// since returns the refusal of a subject, if it came after so many others.
func (r *refusedSubjects) since(count uint64, subject string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if of := r.of[atItsServer(subject)]; of.number > count {
		return of.err
	}
	return nil
}

// refused returns the server's refusal of a subject: of late, or the last that it refused on this connection.
func refused(nc *trunk, subject string) error {
	last := nc.LastError()
	nc.refusals.note(last)
	nc.refusals.mu.Lock()
	defer nc.refusals.mu.Unlock()
	if of, known := nc.refusals.of[atItsServer(subject)]; known && (of.err == last || time.Since(of.at) < refusedFor) {
		return of.err
	}
	return nil
}

// unlessRefused returns a context that is over, too, when the server refuses a subject to this connection. That comes without
// an answer, and whoever waits for one would do so in vain, until a timeout.
func unlessRefused(ctx context.Context, nc *trunk, subject string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	before := nc.refusals.note(nc.LastError())
	var look func()
	wait := 2 * time.Millisecond
	look = func() {
		if ctx.Err() != nil {
			return
		}
		nc.refusals.note(nc.LastError())
		if refusal := nc.refusals.since(before, subject); refusal != nil {
			cancel(refusal)
			return
		}
		wait = min(2*wait, 100*time.Millisecond)
		time.AfterFunc(wait, look)
	}
	time.AfterFunc(wait, look)
	return ctx, func() { cancel(context.Canceled) }
}
