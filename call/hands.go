package call

// The goroutines that run calls.
//
//	take -> ready -> a hand that looks -> runs a call -> looks for the next one -> none: it rests
//	                   '-> more are ready: another hand looks, while this one runs its call
//
// As long as calls are ready, one hand looks, so that none waits for the handler of another one. No more than one does: what comes in
// quick succession, and is done quickly, is run by a few hands, one call after another, and nobody is woken for each of them. A hand that
// has nothing to run rests for a while: its stack has grown to what a handler needs.

// hand wakes such a goroutine, to look for calls. Closed, it ends.
type hand chan struct{}

// spareHands is how many rest at most.
const spareHands = 64

// queue are the calls that are ready to run.
type queue struct{ first, last *serving }

func (q *queue) push(s *serving) {
	if q.first == nil {
		q.first = s
	} else {
		q.last.behind = s
	}
	q.last = s
}

func (q *queue) pop() (s *serving) {
	if s = q.first; s != nil {
		q.first, s.behind = s.behind, nil
	}
	return s
}

// look returns a hand that is to look for calls; nil if none is ready, or another one looks already. It is called with the lock held,
// and the hand is woken without.
func (e *Endpoint) look() (h hand) {
	if e.ready.first == nil || e.looking {
		return nil
	}
	e.looking = true
	if last := len(e.hands) - 1; last >= 0 {
		h, e.hands = e.hands[last], e.hands[:last]
		return h
	}
	h = make(hand, 1)
	go e.work(h)
	return h
}

func (h hand) wake() {
	if h != nil {
		h <- struct{}{} // there is room: it rests
	}
}

// work runs calls.
func (e *Endpoint) work(h hand) {
	for range h {
		e.mu.Lock()
		e.looking = false
		s, other := e.next(h)
		e.mu.Unlock()
		other.wake()
		for s != nil {
			s = e.runOne(h, s)
		}
	}
}

// next returns what a hand is to run; if there is nothing it rests. Another hand may have to be woken. It is called with the lock held.
func (e *Endpoint) next(h hand) (s *serving, other hand) {
	if s = e.ready.pop(); s == nil {
		e.rest(h)
	}
	return s, e.look()
}

// rest has a hand rest, or ends it. It is called with the lock held.
func (e *Endpoint) rest(h hand) {
	if e.closing || e.base.Err() != nil || len(e.hands) >= spareHands {
		close(h)
		return
	}
	e.hands = append(e.hands, h)
}

// dismiss ends the hands that rest. It is called with the lock held.
func (e *Endpoint) dismiss() {
	for _, h := range e.hands {
		close(h)
	}
	e.hands = nil
}
