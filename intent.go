package rolebus

import "sync"

// intent is what a node wants to be in a scope, and how much of it the bucket holds.
type intent struct {
	wake chan struct{} // the keeper has something to do

	mu        sync.Mutex
	roles     []Role // sorted, never changed in place
	rev       uint64 // counts the changes wanted
	confirmed uint64 // the newest rev that the bucket holds
	id        life   // of the record that holds it
	err       error  // why the last attempt did not work
	moved     chan struct{}
}

func newIntent(roles []Role) *intent {
	return &intent{wake: make(chan struct{}, 1), roles: roles, rev: 1, moved: make(chan struct{})}
}

// edit changes what is wanted, unless check objects; it returns the rev to wait for.
func (w *intent) edit(next func([]Role) []Role, check func([]Role) error) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	roles := next(w.roles)
	if len(missing(roles, w.roles)) == 0 && len(missing(w.roles, roles)) == 0 {
		return w.rev, nil
	}
	if err := check(roles); err != nil {
		return 0, err
	}
	w.roles = roles
	w.rev++
	poke(w.wake)
	return w.rev, nil
}

func (w *intent) current() (roles []Role, rev uint64, pending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roles, w.rev, w.rev != w.confirmed
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
