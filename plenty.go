package rolebus

import "sync"

// plenty is whether a kind of request that has many answers gets them all here. An account that imports it gets only the first one,
// unless the export says otherwise: the others are gone, and nobody says so. Of a nil plenty there is one answer.
type plenty struct {
	mu     sync.Mutex
	many   bool   // the last time there were several
	lone   int    // how often in a row only the first came
	breaks uint64 // of the connection, when that was last so
}

// doubted says whether it is not known that there are several answers.
func (p *plenty) doubted() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.many
}

// several takes note that more than one came.
func (p *plenty) several() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.many, p.lone = true, 0
}

// first takes note that the first came, and nothing after it.
func (p *plenty) first(breaks uint64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.many, p.breaks = false, breaks
	p.lone++
}

// onlyFirst says whether no more than the first comes: it was so twice, which is no chance. With another connection that is tried anew.
func (p *plenty) onlyFirst(breaks uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.breaks != breaks {
		p.lone, p.breaks = 0, breaks
	}
	return p.lone >= 2
}
