package call

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus/internal/hook"
)

// serving is one call that came in: it is refused, or it runs, perhaps after it has waited, on a goroutine of its own.
type serving struct {
	endpoint *Endpoint
	msg      *nats.Msg
	within   string   // the reply subject of the call within which it is made, or its own: what it calls is made within that, too
	answers  answerer // nil: nobody waits for an answer
	key      string
	came     time.Time
	waited   time.Duration
	ctx      handling
	answered atomic.Bool
	told     bool     // its handler has returned: under the lock of the endpoint
	behind   *serving // in a queue
}

func (s *serving) context() context.Context {
	if s.ctx.base == nil {
		return context.Background()
	}
	return &s.ctx
}

// nestedMost is how many calls may run beyond the limit because they are nested: whoever calls says so.
const nestedMost = 64

// nested says whether a call is made within one that runs at the same endpoint and waits for it, by whatever way: it must not wait for that
// one. It is called with the lock held.
func (e *Endpoint) nested(s *serving) bool {
	if s.within == s.msg.Reply || e.running >= e.opts.concurrency+nestedMost {
		return false
	}
	for _, above := range e.calls {
		if above.within == s.within && !above.told {
			return true
		}
	}
	return false
}

// runOne has a hand run one call and returns the next one, nil if there is none. If the handler panics, or ends its goroutine, the hand
// ends.
func (e *Endpoint) runOne(h hand, s *serving) (next *serving) {
	if s.waited = time.Since(s.came); s.ctx.Err() != nil {
		s.ctx.cancel()
		s.refuse(s.expired())
		return e.ended(h, s)
	}
	began := time.Now()
	returned := false
	defer func() {
		if returned {
			return
		}
		var fault any = "runtime.Goexit"
		if panicked := recover(); panicked != nil {
			fault = panicked
		}
		took, text := time.Since(began), "panic"
		defer func() { // also if what it panicked with ends the goroutine when it is asked for its text
			err := errors.New(prefix + text)
			e.returned(s, true, took, err)
			s.answer(refusal(sayFailed, CodePanic, text))
			s.ctx.cancel()
			e.tell(s, true, took, err)
			e.gone(s)
			close(h)
		}()
		text = "panic: " + cut(fmt.Sprint(fault), maxTextLine)
		hook.Blame(e.log, "a handler of calls panicked", fault, "method", e.method)
	}()
	output, err := e.handle(&s.ctx, s.msg)
	returned = true
	took, ran := time.Since(began), !errors.Is(err, errNotDecoded)
	e.returned(s, ran, took, err)
	if unsent := s.finish(output, err); unsent != nil {
		err = unsent
		e.unsent(err)
	}
	s.ctx.cancel()
	e.tell(s, ran, took, err)
	return e.ended(h, s)
}

// finish answers with what the handler returned.
func (s *serving) finish(output []byte, err error) error {
	switch {
	case err == nil:
		sending := s.answer(nats.Msg{Data: output})
		if errors.Is(sending, nats.ErrMaxPayload) {
			sending = fmt.Errorf("%w: the output: %w", ErrTooLarge, sending)
			s.answered.Store(false)
			s.say(sayTooLarge, sending)
		}
		return sending
	case errors.Is(err, errNotDecoded):
		s.say(sayDecode, err)
	case errors.Is(err, errNotEncoded):
		s.say(sayEncode, err)
	case errors.Is(context.Cause(&s.ctx), errClosing):
		s.answer(refusal(sayCanceled, sayCanceled, "the handler was cancelled: "+plain(err)))
	case errors.Is(s.ctx.Err(), context.Canceled) && errors.Is(err, context.Canceled): // by who seemed to have gone; it may be there again
		s.say(sayCanceled, err)
	case errors.Is(s.ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded):
		s.say(sayTimeout, err)
	default:
		s.answer(refusal(sayFailed, codeOf(err), err.Error()))
	}
	return nil
}

// answer answers once.
func (s *serving) answer(msg nats.Msg) error {
	if s.answers == nil || !s.answered.CompareAndSwap(false, true) {
		return nil
	}
	err := s.answers.answer(s.msg.Reply, msg)
	if err != nil && errors.Is(err, nats.ErrMaxPayload) && len(msg.Header) > 0 { // a long text, whose first line is in a header
		msg.Data = nil
		err = s.answers.answer(s.msg.Reply, msg)
	}
	return err
}

// say answers with something that is no output. What the caller makes of that it need not be told twice.
func (s *serving) say(say string, err error) {
	text := plain(err)
	if what := plain(verdicts[say].err); text == what {
		text = ""
	} else {
		text = strings.ReplaceAll(text, what+": ", "")
	}
	_ = s.answer(refusal(say, say, text)) // it is only an answer that nobody gets
}

// refuse ends a call that does not run.
func (s *serving) refuse(say string, err error) {
	s.endpoint.count(false, 0, err)
	s.say(say, err)
	s.endpoint.tell(s, false, 0, err)
}

// expired is what becomes of a call that waited for too long.
func (s *serving) expired() (say string, err error) {
	if errors.Is(context.Cause(&s.ctx), errClosing) || s.endpoint.server.bus.Context().Err() != nil {
		return sayDraining, ErrDraining
	}
	return sayTimeout, because(ErrTimeout, "it waited until nobody did any more")
}

// abandon cancels a call for which there is no more time, and tells the caller so at once.
func (s *serving) abandon() {
	s.answer(refusal(sayCanceled, sayCanceled, "the handler is ended"))
	s.ctx.cancel()
}
