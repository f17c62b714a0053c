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
	placed    bool               // whoever changes the metadata waits for this node's record
	wishes    map[*wish]struct{} // of the calls that wait
}

// wish is what a call waits for.
type wish struct {
	rev uint64 // the bucket is to hold it
	err error  // why it never will: it was taken back. Guarded by the intent's mu
}

func newIntent(first wanted) *intent {
	return &intent{wake: make(chan struct{}, 1), wanted: first, rev: 1, moved: make(chan struct{}), wishes: map[*wish]struct{}{}}
}

// edit changes which roles are wanted, unless check objects; it returns what to wait for.
func (w *intent) edit(next func([]Role) []Role, check func(wanted) error) (*wish, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	want := wanted{next(w.roles), w.meta}
	if slices.Equal(want.roles, w.roles) {
		return w.wish(), nil
	}
	if err := check(want); err != nil {
		return nil, err
	}
	w.wanted = want
	w.move()
	return w.wish(), nil
}

// wish returns what a call has to wait for that wants what is wanted now. The caller holds w.mu, and calls forget in the end.
func (w *intent) wish() *wish {
	call := &wish{rev: w.rev}
	w.wishes[call] = struct{}{}
	return call
}

func (w *intent) forget(call *wish) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.wishes, call)
}

// place says that the node has taken its place in the scope, and returns what its join waits for.
func (w *intent) place() *wish {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.placed = true
	return w.wish()
}

// dress changes which metadata is wanted, and returns what to wait for; nil if the node has not taken its place yet, for then its
// join waits. The caller holds w.mu.
func (w *intent) dress(meta map[string]string) *wish {
	w.wear(meta)
	if !w.placed {
		return nil
	}
	return w.wish()
}

// wear changes which metadata is wanted. The caller holds w.mu.
func (w *intent) wear(meta map[string]string) {
	if !maps.Equal(meta, w.meta) {
		w.meta = meta
		w.move()
	}
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

// takeBack makes the node want again what the record says, because the server will not have what was wanted at a rev; whoever waits
// for it gets the error. If something else is wanted by now, that is to be tried first.
func (w *intent) takeBack(rev uint64, held wanted, err error) (done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rev != rev || w.equal(held) {
		return false
	}
	w.wanted = held
	for call := range w.wishes {
		if call.rev > w.confirmed {
			call.err = err
		}
	}
	w.move()
	close(w.moved)
	w.moved = make(chan struct{})
	return true
}

func (w *intent) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// status returns the record that holds what a call waits for, if the bucket has it, a channel that is closed when that may have
// changed, and why it never will.
func (w *intent) status(call *wish) (id life, held bool, moved <-chan struct{}, refusal error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id, w.confirmed >= call.rev, w.moved, call.err
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
