package hook

import (
	"context"
	"reflect"
	"strings"
)

// Hearers are the hooks that hear one event.
type Hearers[Info any] []hearer[Info]

type hearer[Info any] struct {
	queue *Queue
	event string
	on    func(Info)
}

// Listen adds a hook if it has the event's method. It says whether it has. The event is named
// after its type: "Sync" for SyncInfo.
func Listen[H, Info any](to *Hearers[Info], q *Queue, on func(H, Info)) bool {
	hook, ok := q.hook.(H)
	if ok {
		event := strings.TrimSuffix(reflect.TypeFor[Info]().Name(), "Info")
		*to = append(*to, hearer[Info]{q, event, func(info Info) { on(hook, info) }})
	}
	return ok
}

// Tell lets the hooks have an event.
func (to Hearers[Info]) Tell(info Info) { to.TellUpTo(Backlog, info) }

// TellUpTo lets those hooks have an event for whom no more than so many wait.
func (to Hearers[Info]) TellUpTo(most int, info Info) {
	for _, l := range to {
		on, info := l.on, info // a copy: else it would be allocated also where nobody hears it
		l.queue.offer(most, l.event, func() { on(info) })
	}
}

// TellLater is Tell, with what need not be found out here and now.
func (to Hearers[Info]) TellLater(info func() Info) {
	for _, l := range to {
		on := l.on
		l.queue.offer(Backlog, l.event, func() { on(info()) })
	}
}

// Hand lets the hooks have an event, and waits for each. Whoever uses it has one event under way at the most.
func (to Hearers[Info]) Hand(ctx context.Context, info Info) {
	for _, l := range to {
		l.queue.hand(ctx, l.event, func() { l.on(info) })
	}
}

// Of returns the part that is about one hook.
func (to Hearers[Info]) Of(q *Queue) (part Hearers[Info]) {
	for _, l := range to {
		if l.queue == q {
			part = append(part, l)
		}
	}
	return part
}
