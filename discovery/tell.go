package discovery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rolebus/rolebus/internal/found"
)

// teller is how a strategy tells what it learns: to whoever follows it, to its hooks, and to its log.
type teller struct {
	name  string
	log   *slog.Logger
	hooks *hooks
	found func([]Address, error)

	mu     sync.Mutex
	kept   found.Kept[Address]
	inARow int
	told   map[string]*complaint
}

// complaint is a failure that the log has.
type complaint struct {
	next time.Time
	wait time.Duration
}

const (
	complainAgain  = 10 * time.Second // at first: then twice as long each time
	complainSeldom = 10 * time.Minute
	mostComplaints = 64
)

func (o *options) teller(name string, found func([]Address, error)) *teller {
	return &teller{name: name, log: o.log.With("strategy", name), hooks: o.hooks, found: found, told: map[string]*complaint{}}
}

// list tells a list that is whole. An empty one, which is none, is told as a failure.
func (t *teller) list(addresses []Address) { t.tell(addresses, nil, nil) }

// beside tells a list that is whole, and what went wrong all the same; nil if nothing did.
func (t *teller) beside(addresses []Address, wrong error) { t.tell(addresses, nil, wrong) }

// part tells a list that lacks something, or none at all, and why.
func (t *teller) part(addresses []Address, err error) { t.tell(addresses, err, nil) }

func (t *teller) tell(addresses []Address, err, beside error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.kept.List()
	changed, problem := t.kept.Take(addresses, err)
	if changed {
		came, went := found.Diff(before, t.kept.List())
		for _, a := range came {
			t.log.Info("found", "address", a.String())
			t.hooks.found.Tell(FoundInfo{t.name, a})
		}
		for _, a := range went {
			t.log.Info("gone", "address", a.String())
			t.hooks.gone.Tell(GoneInfo{t.name, a})
		}
	}
	switch {
	case problem != nil:
		t.complain(problem)
	case beside != nil:
		t.complain(beside)
	default:
		t.well()
	}
	t.found(addresses, err)
	if beside != nil {
		t.found(nil, beside)
	}
}

// failed tells what went wrong, and says nothing about the list.
func (t *teller) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complain(err)
	if t.found != nil {
		t.found(nil, err)
	}
}

// lookup tells that the source was asked.
func (t *teller) lookup(took time.Duration, n int, err error) {
	if t.log.Enabled(context.Background(), slog.LevelDebug) {
		t.log.Debug("looked up", "took", took, "addresses", n, "error", err)
	}
	t.hooks.lookup.Tell(LookupInfo{t.name, took, n, err})
}

// announced tells that this process made itself known, or could not.
func (t *teller) announced(addresses []Address, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hooks.announced.Tell(AnnouncedInfo{t.name, addresses, err})
	if err != nil {
		t.complain(err)
		return
	}
	t.well()
	t.log.Info("announced", "addresses", texts(addresses))
}

// complain tells a failure. The caller holds mu.
func (t *teller) complain(err error) {
	t.inARow++
	reason := ReasonOf(err)
	t.hooks.failed.Tell(FailedInfo{t.name, reason, err, t.inARow})
	if errors.Is(err, context.Canceled) {
		return
	}
	now, text := time.Now(), err.Error()
	c := t.told[text]
	if c == nil {
		if len(t.told) >= mostComplaints {
			clear(t.told)
		}
		c = &complaint{}
		t.told[text] = c
	}
	if now.Before(c.next) {
		return
	}
	c.wait = min(max(2*c.wait, complainAgain), complainSeldom)
	c.next = now.Add(c.wait)
	t.log.Warn("discovery failed, what was found before stays", "reason", string(reason), "error", err, "in_a_row", t.inARow)
}

// well notes that nothing is wrong any more. The caller holds mu.
func (t *teller) well() {
	if t.inARow > 0 {
		t.log.Info("discovery works again", "failures", t.inARow)
	}
	t.inARow = 0
	clear(t.told)
}

func texts(addresses []Address) []string {
	var all []string
	for _, a := range addresses {
		all = append(all, a.String())
	}
	return all
}
