package found

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/rolebus/rolebus/internal/hook"
)

const (
	firstAgain = time.Second // after it has failed; twice as long each time
	lastAgain  = time.Minute
	settled    = time.Minute // for so long it has run: then it begins with firstAgain again

	// Patience is how long a strategy may take to end when its context is over.
	Patience = time.Second
)

// Following is what Follow is told.
type Following[A comparable] struct {
	// Name is what logs call the strategy.
	Name string
	// Discover is the strategy's.
	Discover func(ctx context.Context, found func([]A, error)) error
	// Check says what is wrong with an address, which is then left out.
	Check func(A) error
	// Changed is called with what stands now, whenever that has changed, and when something is well again that had failed; one call at a
	// time.
	Changed func([]A)
	// Failed is called with each thing that went wrong, one call at a time, also with each address that is wrong and was not wrong in the
	// list before. Nil: it is not told.
	Failed func(error)
	// Log takes panics, and a strategy that does not end.
	Log *slog.Logger
}

// patienceKey is the key of how long a context's owner waits for an end: who follows within what is followed waits less, so that it is
// always the innermost one that is told not to end.
type patienceKey struct{}

// Follow follows a strategy until ctx is over. It returns soon after that, at the latest after Patience, also if the strategy does not, or
// says that one within it does not: then it is ErrStuck, and what the strategy does from then on reaches nobody.
func (f Following[A]) Follow(ctx context.Context) error {
	s := &state[A]{Following: f, patience: Patience}
	if less, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		s.patience = less
	}
	ctx = context.WithValue(ctx, patienceKey{}, s.patience-s.patience/10)
	again := firstAgain
	for ctx.Err() == nil {
		began := time.Now()
		failure := s.run(ctx)
		switch {
		case errors.Is(failure, ErrStuck):
			f.Log.Error("a strategy of discovery does not end with its context: it goes on, and nobody hears it", "strategy", f.Name, "error", failure)
			return failure
		case ctx.Err() != nil:
			return nil
		case failure == nil:
			<-ctx.Done() // what it told stays
			return nil
		}
		if time.Since(began) > settled {
			again = firstAgain
		}
		s.ended(failure)
		timer := time.NewTimer(again/2 + rand.N(again/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		again = min(2*again, lastAgain)
	}
	return nil
}

// ErrStuck says that a strategy does not end.
var ErrStuck = errors.New("it does not end with its context")

// state is what stands. It survives the strategy's ends.
type state[A comparable] struct {
	Following[A]

	patience time.Duration

	mu     sync.Mutex // held while Changed and Failed are called: they are quick, and so come in order
	kept   Kept[A]
	bad    map[A]bool // in the list before
	failed bool       // since Changed was called
}

// run calls Discover once.
func (s *state[A]) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	live := &gate{}
	defer live.close() // of a strategy that does not end
	done := make(chan error, 1)
	go func() { // ends with Discover
		failure := error(errGoexit)
		defer func() {
			if fault := recover(); fault != nil {
				hook.Blame(s.Log, "a strategy of discovery panicked", fault, "strategy", s.Name)
				failure = fmt.Errorf("panic: %v", fault)
			}
			live.close() // whoever sends from now on comes too late
			done <- failure
		}()
		failure = s.Discover(ctx, func(list []A, err error) {
			live.pass(func() {
				if ctx.Err() == nil {
					s.take(list, err)
				}
			})
		})
	}()
	select {
	case failure := <-done:
		return failure
	case <-ctx.Done():
	}
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case failure := <-done:
		return failure
	case <-timer.C:
		return fmt.Errorf("%s: %w", s.Name, ErrStuck)
	}
}

var errGoexit = fmt.Errorf("it ended its goroutine (runtime.Goexit)")

// gate lets nobody pass who comes too late.
type gate struct {
	mu     sync.Mutex
	closed bool
}

func (g *gate) pass(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		f()
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// take takes in what the strategy told.
func (s *state[A]) take(told []A, err error) {
	err = Tame(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	good := make([]A, 0, min(len(told), Most+1))
	bad := map[A]bool{}
	for _, a := range told {
		problem := s.Check(a)
		if problem == nil {
			good = append(good, a)
			continue
		}
		if len(bad) < Most && !bad[a] {
			bad[a] = true
			if !s.bad[a] {
				s.fail(problem)
			}
		}
	}
	s.bad = bad
	if err == nil && len(good) == 0 && len(told) > 0 {
		err = fmt.Errorf("none of its %d addresses can be used", len(told))
	}
	changed, problem := s.kept.Take(good, err)
	if changed || problem == nil && s.failed {
		s.failed = false
		s.Changed(s.kept.List())
	}
	if problem != nil {
		s.fail(problem)
	}
}

// ended tells that Discover has returned.
func (s *state[A]) ended(failure error) {
	failure = Tame(failure)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail(fmt.Errorf("it ended, and is called again: %w", failure))
}

// fail is called with mu held.
func (s *state[A]) fail(err error) {
	s.failed = true
	if s.Failed != nil {
		s.Failed(err)
	}
}

// Tame returns an error that has a text which can be asked for: a user's may panic, as that of a nil pointer does, or be empty.
func Tame(err error) (tame error) {
	if err == nil {
		return nil
	}
	defer func() {
		if fault := recover(); fault != nil {
			tame = fmt.Errorf("an error of type %T, whose text panics", err)
		}
	}()
	if strings.TrimSpace(err.Error()) == "" {
		return fmt.Errorf("an error of type %T without a text%w", err, err)
	}
	return err
}
