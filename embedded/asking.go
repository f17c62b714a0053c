package embedded

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	hellos "github.com/rolebus/rolebus/internal/hello"
)

// asking is who is asked, and when: all that discovery shows, that are known from before, and of whom others tell.
//
// loop only, but for what goroutines send to answers
type asking struct {
	asker    *hellos.Asker
	log      *slog.Logger
	answers  chan answer
	asked    map[contact]*asked
	inFlight sync.WaitGroup
	ctx      context.Context // ends with the loop
}

// asked is what is known of one that is asked.
type asked struct {
	began    time.Time // when it was last asked
	rare     bool      // there is nothing to learn there
	waits    bool      // for its answer
	fails    int
	last     time.Time // when it answered last, or was first to be asked
	instance string    // who answered
	told     bool      // its failure
}

type answer struct {
	contact contact
	text    []byte
	err     error
}

const (
	askEvery     = 250 * time.Millisecond
	askEach      = 25 * time.Millisecond   // of many
	askMost      = 1500 * time.Millisecond // so that what was heard still counts when it is heard again
	askSettled   = time.Second
	askRarely    = 5 * time.Second
	askSeldom    = 30 * time.Second // a spare the other spares, of which there may be many
	askPatience  = 2 * time.Second
	silentAfter  = 3 // times
	mostAsked    = 256
	mostInFlight = 64
	dropAfter    = time.Minute // one that others told of
)

// unsettled is how often each of n is asked who is neither a member nor a founder: the more there are, the less often, as all ask all.
func unsettled(n int) time.Duration {
	return min(max(askEvery, time.Duration(n)*askEach), askMost)
}

func newAsking(ctx context.Context, asker *hellos.Asker, log *slog.Logger) *asking {
	return &asking{asker: asker, log: log, answers: make(chan answer, mostInFlight), asked: map[contact]*asked{}, ctx: ctx}
}

// step asks those whose turn it is. every is how often each is asked.
func (a *asking) step(now time.Time, sure, told []contact, every func(contact) time.Duration, question []byte) {
	keep := map[contact]bool{}
	for _, c := range sure {
		keep[c] = true
		a.add(now, c)
	}
	for _, c := range told {
		if len(a.asked) < mostAsked {
			a.add(now, c)
		}
	}
	waiting := 0
	for c, s := range a.asked {
		if !keep[c] && !s.waits && now.Sub(s.last) > dropAfter {
			delete(a.asked, c)
		}
		if s.waits {
			waiting++
		}
	}
	for c, s := range a.asked {
		pace := every(c)
		switch {
		case s.rare:
			pace = max(pace, askRarely)
		case s.fails > 0: // it may be there at any moment, and may never
			pace = min(max(pace, askEvery<<min(s.fails, 4)), askRarely)
		}
		if s.waits || now.Sub(s.began) < pace || waiting >= mostInFlight {
			continue
		}
		s.waits, s.began = true, now
		waiting++
		a.inFlight.Go(func() {
			ctx, cancel := context.WithTimeout(a.ctx, askPatience)
			defer cancel()
			text, err := a.asker.Ask(ctx, c.String(), cmp.Or(c.TLSName, c.Host), question)
			select {
			case a.answers <- answer{c, text, err}:
			case <-a.ctx.Done():
			}
		})
	}
}

// open says how many there are of whom nobody can say yet whether they are there: they neither answered nor failed to.
func (a *asking) open(sure, told []contact) int {
	open := map[contact]bool{}
	for i, c := range slices.Concat(sure, told) {
		switch s := a.asked[c]; {
		case s != nil:
			open[c] = s.fails == 0 && s.instance == ""
		case i < len(sure) && len(a.asked) < mostKnown || len(a.asked) < mostAsked:
			open[c] = true // it is asked next
		}
	}
	n := 0
	for _, yes := range open {
		if yes {
			n++
		}
	}
	return n
}

func (a *asking) add(now time.Time, c contact) {
	if a.asked[c] == nil && len(a.asked) < mostKnown {
		a.asked[c] = &asked{last: now}
	}
}

// took takes in that somebody answered.
func (a *asking) took(now time.Time, c contact, instance string) {
	if s := a.asked[c]; s != nil {
		*s = asked{began: s.began, last: now, instance: instance}
	}
}

// rarely notes that there is nothing to learn from a contact.
func (a *asking) rarely(c contact) {
	if s := a.asked[c]; s != nil {
		s.rare = true
	}
}

// failed takes in that somebody did not, and tells what only a person can mend.
func (a *asking) failed(now time.Time, c contact, err error) {
	s := a.asked[c]
	if s == nil {
		return
	}
	s.waits = false
	s.fails++
	what := ""
	switch {
	case errors.Is(err, hellos.ErrForeign):
		what = "it has another secret: give all processes the same, or have discovery show each cluster its own"
	case errors.Is(err, hellos.ErrVersion):
		what = "it speaks another version: let all processes have the same one of rolebus"
	case errors.Is(err, hellos.ErrTLS):
		what = "its TLS does not fit: give all processes WithClusterTLS or none, certificates of an authority in each other's CA file, and for the host that discovery shows"
	case errors.Is(err, hellos.ErrNone):
		what = "something else listens there than a process of a cluster: discovery must show the ports of WithClusterPort"
	case errors.Is(err, context.DeadlineExceeded) && s.instance == "" && s.fails >= silentAfter:
		what = "nobody answers: it cannot be reached, is frozen, or is something else, such as a web server: discovery must show the ports of WithClusterPort"
	default:
		a.log.Debug("no answer", "address", c, "error", err)
		return
	}
	if !s.told {
		s.told = true
		a.log.Warn("a process that discovery shows is not one of ours", "address", c, "reason", what, "error", err)
	}
}

func (a *asking) close() {
	a.asker.Close()
	a.inFlight.Wait()
}
