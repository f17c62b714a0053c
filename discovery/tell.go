package discovery

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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
	logged found.Complaints
	known  []Address // that this process announced, and nothing went wrong since
}

func (o *options) teller(name string, found func([]Address, error)) *teller {
	return &teller{name: name, log: o.log.With("strategy", name), hooks: o.hooks, found: found}
}

// list tells a list that is whole. An empty one, which is none, is told as a failure.
func (t *teller) list(addresses []Address) { t.tell(addresses, nil, nil, t.well) }

// amid tells a list that is whole, while what was told to be wrong still is.
func (t *teller) amid(addresses []Address) { t.tell(addresses, nil, nil, func() {}) }

// beside tells a list that is whole, and what went wrong all the same; nil if nothing did.
func (t *teller) beside(addresses []Address, wrong error) { t.tell(addresses, nil, wrong, t.well) }

// part tells a list that lacks something, or none at all, and why.
func (t *teller) part(addresses []Address, err error) { t.tell(addresses, err, nil, t.well) }

func (t *teller) tell(addresses []Address, err, beside error, well func()) {
	err, beside = found.Tame(err), found.Tame(beside)
	addresses, unusable := usable(addresses)
	if unusable != nil && len(addresses) == 0 && err == nil {
		err, unusable = unusable, nil
	}
	beside = join(unusable, beside)
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
		well()
	}
	t.found(addresses, err)
	if beside != nil {
		t.found(nil, beside)
	}
}

// failed tells what went wrong, and says nothing about the list.
func (t *teller) failed(err error) {
	err = found.Tame(err)
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
	if err == nil && slices.Equal(t.known, addresses) {
		return // it is told already
	}
	t.hooks.announced.Tell(AnnouncedInfo{t.name, slices.Clone(addresses), err})
	if err != nil {
		t.known = nil
		t.complain(err)
		return
	}
	t.known = slices.Clone(addresses)
	t.well()
	t.log.Info("announced", "addresses", texts(addresses))
}

// complain tells a failure. The caller holds mu.
func (t *teller) complain(err error) {
	t.inARow++
	reason := ReasonOf(err)
	t.hooks.failed.Tell(FailedInfo{t.name, reason, err, t.inARow})
	if !errors.Is(err, context.Canceled) && t.logged.Now(time.Now(), string(reason)+err.Error()) {
		t.log.Warn("discovery failed, what was found before stays", "reason", string(reason), "error", err, "in_a_row", t.inARow)
	}
}

// well notes that nothing is wrong any more. The caller holds mu.
func (t *teller) well() {
	if t.logged.Over() {
		t.log.Info("discovery works again", "failures", t.inARow)
	}
	t.inARow = 0
}

func texts(addresses []Address) []string {
	var all []string
	for _, a := range addresses {
		all = append(all, a.String())
	}
	return all
}
