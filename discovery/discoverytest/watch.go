package discoverytest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// watcher does what whoever uses a strategy has to do: it keeps what was told, calls Discover again when that has failed, and looks for
// what is against the contract meanwhile.
type watcher struct {
	tb      testing.TB
	s       Subject
	cancel  context.CancelFunc
	done    chan struct{} // closed when Discover is not called any more
	finding sync.Mutex    // held by who is in found

	mu     sync.Mutex
	kept   []Address
	told   int // calls of found, and ends with an error
	empty  int // of these, those that listed nothing and had no error
	errs   int // of these, those with an error
	story  []string
	faults []string
	moved  chan struct{}
	ended  bool // by itself, with nil

	guards    bool // see guard
	must, may []Address
}

const lastStory = 12 // what was told last, for whoever reads why a check failed

// watch begins to follow the strategy.
func (s Subject) watch(tb testing.TB, strategy Strategy) *watcher {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{tb: tb, s: s, cancel: cancel, done: make(chan struct{}), moved: make(chan struct{})}
	go w.follow(ctx, strategy) // joined by end
	tb.Cleanup(func() {
		w.end()
		w.report()
	})
	return w
}

func (w *watcher) follow(ctx context.Context, strategy Strategy) {
	defer close(w.done)
	for ctx.Err() == nil {
		err, ok := w.discover(ctx, strategy)
		if ctx.Err() != nil || !ok {
			return
		}
		if err == nil {
			w.note("Discover returned nil: what it told stays", func() { w.ended = true })
			return
		}
		w.failed("Discover returned an error: ", err)
		select {
		case <-time.After(10 * time.Millisecond): // as of whoever calls it again after a while
		case <-ctx.Done():
		}
	}
}

// discover calls Discover once. It is not ok if that did not return.
func (w *watcher) discover(ctx context.Context, strategy Strategy) (err error, ok bool) {
	var returned sync.Mutex // held while what is told is taken in: so none is halfway when Discover has returned
	over := false
	finished := make(chan struct{})
	go func() { // a goroutine of its own, which it may end
		defer close(finished)
		defer func() {
			returned.Lock()
			over = true
			returned.Unlock()
			if fault := recover(); fault != nil {
				w.fault("Discover panicked: %v", fault)
			} else if !ok {
				w.fault("Discover ended its goroutine (runtime.Goexit)")
			}
		}()
		err = strategy.Discover(ctx, func(addresses []Address, err error) {
			if !w.finding.TryLock() {
				w.fault("found was called by two goroutines at once")
				w.finding.Lock()
			}
			defer w.finding.Unlock()
			runtime.Gosched() // so that a second one is seen
			returned.Lock()
			defer returned.Unlock()
			switch {
			case over:
				w.fault("found was called after Discover had returned: something of it still runs")
			case ctx.Err() == nil:
				w.take(slices.Clone(addresses), err)
			}
		})
		ok = true
	}()
	<-finished
	return err, ok
}

// take takes in what was told, by the rule that only a list that is whole and not empty lets an address go.
func (w *watcher) take(addresses []Address, err error) {
	defer w.guarded()
	if err != nil {
		w.failed(fmt.Sprintf("found(%s, error): ", describe(addresses)), err)
		w.note("", func() {
			for _, a := range addresses {
				if !slices.Contains(w.kept, a) {
					w.kept = append(w.kept, a)
				}
			}
		})
		return
	}
	w.note("found("+describe(addresses)+", nil)", func() {
		w.told++
		if len(addresses) == 0 {
			w.empty++
			return
		}
		w.kept = addresses
	})
}

// guard has everything that is told from now on looked at: nothing of must may go, nothing but may come. Without may all is allowed.
func (w *watcher) guard(must, may []Address) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guards, w.must, w.may = may != nil, must, may
}

// guarded says what was lost, or invented.
func (w *watcher) guarded() {
	w.mu.Lock()
	guards, kept, must, may := w.guards, w.kept, w.must, w.may
	w.mu.Unlock()
	if !guards {
		return
	}
	for _, a := range must {
		if !slices.Contains(kept, a) {
			w.fault("what stood is lost: %s became %s", describe(must), describe(kept))
			return
		}
	}
	for _, a := range kept {
		if !slices.Contains(may, a) {
			w.fault("an address was told that the source did not list: %s, of which %s can be", describe(kept), describe(may))
			return
		}
	}
}

func (w *watcher) failed(what string, err error) {
	text := safeText(err)
	w.note(what+text, func() { w.told++; w.errs++ })
	if strings.TrimSpace(text) == "" {
		w.fault("an error has no text: %T", err)
	}
	w.secret(text)
}

func (w *watcher) secret(text string) {
	for i, secret := range w.s.Secrets {
		if strings.Contains(text, secret) {
			w.fault("secret %d of the subject is in what is told: %s", i+1, strings.ReplaceAll(text, secret, "(secret)"))
		}
	}
}

// safeText is the text of an error, also of one that panics.
func safeText(err error) (text string) {
	defer func() {
		if fault := recover(); fault != nil {
			text = ""
		}
	}()
	return err.Error()
}

func (w *watcher) note(story string, change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	if story != "" {
		if len(w.story) == lastStory {
			w.story = slices.Delete(w.story, 0, 1)
		}
		w.story = append(w.story, story)
	}
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *watcher) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("!! "+text, func() {
		if len(w.faults) < lastStory && !slices.Contains(w.faults, text) {
			w.faults = append(w.faults, text)
		}
	})
}

// report fails the test by what was against the contract.
func (w *watcher) report() {
	w.tb.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fault := range w.faults {
		w.tb.Errorf("discoverytest: %s", fault)
	}
	w.faults = nil
}

// await waits until it is so, which is asked with the lock held.
func (w *watcher) await(what string, so func() bool) {
	w.tb.Helper()
	timer := time.NewTimer(w.s.Within)
	defer timer.Stop()
	for {
		w.mu.Lock()
		is, moved := so(), w.moved
		story := strings.Join(w.story, "\n\t")
		w.mu.Unlock()
		if is {
			return
		}
		select {
		case <-moved:
		case <-timer.C:
			w.tb.Fatalf("discoverytest: within %v it did not come that %s; it stands at %s, after\n\t%s", w.s.Within, what, describe(w.list()), story)
		}
	}
}

// lists waits until exactly these addresses stand, in any order.
func (w *watcher) lists(addresses []Address) {
	w.tb.Helper()
	w.await("the strategy lists "+describe(addresses), func() bool { return same(w.kept, addresses) })
}

// still is the opposite of lists: nothing may have changed.
func (w *watcher) still(addresses []Address, after string) {
	w.tb.Helper()
	if now := w.list(); !same(now, addresses) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tb.Fatalf("discoverytest: %s, what stood is lost: %s became %s, after\n\t%s", after, describe(addresses), describe(now), strings.Join(w.story, "\n\t"))
	}
}

func (w *watcher) list() []Address {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.kept)
}

// mark returns a question: whether an error was told since then. An empty list is as good if that is what it is about.
func (w *watcher) mark(emptyToo bool) func() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs, empty := w.errs, w.empty
	return func() bool { return w.errs > errs || emptyToo && w.empty > empty }
}

var errStuck = errors.New("it does not end")

// end cancels and returns how long Discover took to return.
func (w *watcher) end() (time.Duration, error) {
	began := time.Now()
	w.cancel()
	timer := time.NewTimer(w.s.Within)
	defer timer.Stop()
	select {
	case <-w.done:
		return time.Since(began), nil
	case <-timer.C:
		w.fault("Discover had not returned %v after its context was cancelled", w.s.Within)
		return time.Since(began), errStuck
	}
}

// same says whether two lists have the same in any order and number.
func same(a, b []Address) bool {
	in := make(map[Address]int, len(a))
	for _, x := range a {
		in[x] |= 1
	}
	for _, x := range b {
		in[x] |= 2
	}
	for _, who := range in {
		if who != 3 {
			return false
		}
	}
	return true
}

func describe(addresses []Address) string {
	var texts []string
	for i, a := range addresses {
		if i == 5 {
			texts = append(texts, fmt.Sprintf("and %d more", len(addresses)-i))
			break
		}
		text := a.String()
		if rest := (Address{Server: a.Server, Cluster: a.Cluster, TLSName: a.TLSName, Priority: a.Priority, Weight: a.Weight}); rest != (Address{}) {
			text += fmt.Sprintf("{%s %s %s %d %d}", a.Server, a.Cluster, a.TLSName, a.Priority, a.Weight)
		}
		texts = append(texts, text)
	}
	return "[" + strings.Join(texts, " ") + "]"
}
