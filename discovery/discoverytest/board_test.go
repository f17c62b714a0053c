package discoverytest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
)

// board is a source in memory.
type board struct {
	mu     sync.Mutex
	said   said
	moved  chan struct{} // closed at each change
	others map[int][]Address
	last   int
	ended  chan struct{} // closed at the end of the test
	one    chan struct{} // has one if somebody announces, of those that ask
}

// said is what the board says.
type said struct {
	list []Address
	err  error
	hang bool // it does not answer
}

var (
	errSilent  = errors.New("no answer")
	errPart    = errors.New("the list lacks something")
	errRefused = errors.New("refused: ask for the right to list")
	errEmpty   = errors.New("it lists nothing")
)

func newBoard() *board {
	return &board{moved: make(chan struct{}), one: make(chan struct{}, 1), ended: make(chan struct{}), others: map[int][]Address{}}
}

func (b *board) say(what said) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what.list = slices.Clone(what.list)
	b.said = what
	close(b.moved)
	b.moved = make(chan struct{})
}

// ask returns what the board says, and what tells that it says something else.
func (b *board) ask() (said, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.said
	now.list = slices.Clone(now.list)
	for _, list := range b.others {
		now.list = append(now.list, list...)
	}
	return now, b.moved
}

func (b *board) announce(list []Address) (undo func()) {
	change := func(f func()) {
		b.mu.Lock()
		defer b.mu.Unlock()
		f()
		close(b.moved)
		b.moved = make(chan struct{})
	}
	var n int
	change(func() { b.last++; n = b.last; b.others[n] = slices.Clone(list) })
	return func() { change(func() { delete(b.others, n) }) }
}

// reader is the strategy that asks a board as it should.
type reader struct{ b *board }

func (r reader) Discover(ctx context.Context, found func([]Address, error)) error {
	for {
		now, moved := r.b.ask()
		switch {
		case now.hang:
			select {
			case <-time.After(time.Millisecond):
				found(nil, errSilent)
			case <-ctx.Done():
			}
		case now.err == nil && len(now.list) == 0:
			found(nil, errEmpty)
		default:
			found(now.list, now.err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r reader) Announce(ctx context.Context, addresses []Address) error {
	if err := r.check(addresses); err != nil {
		return err
	}
	undo := r.b.announce(addresses)
	<-ctx.Done()
	undo()
	return nil
}

func (r reader) check(addresses []Address) error {
	if len(addresses) == 0 {
		return errors.New("no address")
	}
	for _, a := range addresses {
		if err := a.Check(); err != nil {
			return err
		}
	}
	return nil
}

// subject is a board with the strategy that make makes, nil: reader.
func subject(makeIt func(b *board) Strategy) Subject {
	if makeIt == nil {
		makeIt = func(b *board) Strategy { return reader{b} }
	}
	return Subject{New: func(tb testing.TB) Source {
		b := newBoard()
		tb.Cleanup(func() { close(b.ended) })
		src := Source{
			Strategy: makeIt(b),
			Set:      func(list []Address) { b.say(said{list: list}) },
			Part:     func(list []Address) { b.say(said{list: list, err: errPart}) },
			Failures: map[string]func(){
				"refuses": func() { b.say(said{err: errRefused}) },
				"hangs":   func() { b.say(said{hang: true}) },
			},
			Nuisances: map[string]func(){
				"the same again": func() { now, _ := b.ask(); b.say(now) },
			},
		}
		if _, ok := src.Strategy.(discovery.Announcer); ok {
			src.Peer = func() Strategy { return makeIt(b) }
		}
		return src
	}}
}

func TestAStrategyThatDoesAsItShouldPasses(t *testing.T) { Run(t, subject(nil)) }
