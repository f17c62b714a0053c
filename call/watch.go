package call

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Callers that go away: whoever calls with an inbox of the form that docs/PROTOCOL.md describes can be found to have gone. Nobody answers
// when its inbox is asked, but the server says whether anybody is there.

const (
	longCall  = time.Second            // from then on a call's caller is looked after, so often
	aliveTime = 500 * time.Millisecond // for the server's word
)

// watch looks after callers while calls run or wait, and after the hands that ran them.
func (e *Endpoint) watch() {
	err := e.server.bus.Go(func(ctx context.Context) {
		timer := time.NewTicker(longCall)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			if e.unwatched() {
				return
			}
			e.lookAfter(ctx)
		}
	})
	if err != nil { // the Bus stops
		e.mu.Lock()
		e.watching = false
		e.mu.Unlock()
	}
}

// unwatched says whether there is nobody to look after any more.
func (e *Endpoint) unwatched() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watching = len(e.calls) > 0; !e.watching {
		e.dismiss()
	}
	return !e.watching
}

// lookAfter asks each inbox once from which a call came that takes long, and cancels its calls if nobody is there.
func (e *Endpoint) lookAfter(ctx context.Context) {
	var asking sync.WaitGroup
	for inbox, calls := range e.long() {
		asking.Go(func() {
			if e.server.deserted(ctx, inbox) {
				for _, s := range calls {
					s.ctx.cancel()
				}
			}
		})
	}
	asking.Wait()
}

// long returns the calls that take long, by the inboxes from which they came.
func (e *Endpoint) long() map[string][]*serving {
	e.mu.Lock()
	defer e.mu.Unlock()
	var long map[string][]*serving
	for _, s := range e.calls {
		if _, local := s.answers.(*client); local { // this process is there
			continue
		}
		if inbox, known := inboxOf(s.msg.Reply); known && s.answers != nil && time.Since(s.came) >= longCall {
			if long == nil {
				long = map[string][]*serving{}
			}
			long[inbox] = append(long[inbox], s)
		}
	}
	return long
}

// inboxOf returns the inbox of a reply subject of ours, with the dot behind it.
func inboxOf(reply string) (inbox string, known bool) {
	last := strings.LastIndexByte(reply, '.')
	if last < 0 || !strings.HasSuffix(reply[:last], "."+kindOfSubject) {
		return "", false
	}
	return reply[:last+1], true
}

// deserted says whether it is certain that nobody listens at an inbox any more.
func (s *server) deserted(ctx context.Context, inbox string) bool {
	c := clientOf(s.scope)
	if !s.bus.Connected() {
		return false
	}
	_, reply, p := c.expect(nil, "")
	p.timer.Reset(aliveTime)
	var answer *nats.Msg
	err := c.listen()
	if err == nil {
		err = s.bus.Conn().PublishRequest(inbox+aliveToken, reply, nil)
	}
	if err == nil {
		select {
		case answer = <-p.answer:
		case <-p.timer.C:
		case <-ctx.Done():
		}
	}
	if late := c.done(reply, p); answer == nil {
		answer = late
	}
	return answer != nil && noResponders(answer)
}
