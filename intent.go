package rolebus

import (
	"maps"
	"slices"
	"sync"
)

// wanted is what a node is to be in a scope. What it refers to is never changed in place.
type wanted struct {
	roles []Role // sorted
	meta  map[string]string
}

func (w wanted) equal(other wanted) bool {
	return slices.Equal(w.roles, other.roles) && maps.Equal(w.meta, other.meta)
}

// intent is what a node wants to be in a scope, and how much of it the bucket holds.
type intent struct {
	wake chan struct{} // the keeper has something to do

	mu sync.Mutex
	wanted
	rev       uint64 // counts the changes wanted
	confirmed uint64 // the newest rev that the bucket holds
	id        life   // of the record that holds it
	err       error  // why the last attempt did not work
	moved     chan struct{}
	placed    bool // whoever changes the metadata waits for this node's record
}

func newIntent(first wanted) *intent {
	return &intent{wake: make(chan struct{}, 1), wanted: first, rev: 1, moved: make(chan struct{})}
}

// edit changes which roles are wanted, unless check objects; it returns the rev to wait for.
func (w *intent) edit(next func([]Role) []Role, check func(wanted) error) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	want := wanted{next(w.roles), w.meta}
	if slices.Equal(want.roles, w.roles) {
		return w.rev, nil
	}
	if err := check(want); err != nil {
		return 0, err
	}
	w.wanted = want
	w.move()
	return w.rev, nil
}

// place says that the node has taken its place in the scope, and returns the rev that its join waits for.
func (w *intent) place() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.placed = true
	return w.rev
}

// dress changes which metadata is wanted, and returns the rev to wait for; 0 if the node has not taken its place yet, for then its
// join waits. The caller holds w.mu.
func (w *intent) dress(meta map[string]string) uint64 {
	if !maps.Equal(meta, w.meta) {
		w.meta = meta
		w.move()
	}
	if !w.placed {
		return 0
	}
	return w.rev
}

// move says that something else is wanted. The caller holds w.mu.
func (w *intent) move() {
	w.rev++
	poke(w.wake)
}

func (w *intent) current() (want wanted, rev uint64, pending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wanted, w.rev, w.rev != w.confirmed
}

func (w *intent) confirm(rev uint64, id life) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.confirmed, w.id, w.err = rev, id, nil
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *intent) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// status returns the record that holds a rev, if the bucket has it, and a channel that is closed when that may have
// changed.
func (w *intent) status(rev uint64) (id life, held bool, moved <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id, w.confirmed >= rev, w.moved
}

// failure returns why the last attempt did not work.
func (w *intent) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// poke wakes whoever reads the channel, which has room for one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
