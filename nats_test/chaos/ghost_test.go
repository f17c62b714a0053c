//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// boarding is how long a ghost may take to join before it is killed in any case.
const boarding = 2 * time.Second

// known is how long a node lives until some neighbour has heard it, and so may find that it does not answer any more.
const known = time.Second

// ghost starts a node of which everybody is to know, and which a fault then kills for good: nobody ever has its name again. It
// waits until it has joined, or has had the time for it.
func (f *fleet) ghost(rng *rand.Rand) (*seat, *life, error) {
	s := &seat{name: fmt.Sprint("ghost-", f.number()), scopes: []string{[]string{"alpha", "beta"}[rng.IntN(2)]}}
	if err := f.furnish(s); err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	f.ghosts = append(f.ghosts, s)
	f.mu.Unlock()
	if err := s.start(); err != nil {
		return nil, nil, err
	}
	lf := s.now()
	if f.await(boarding, "", lf.settled) != nil {
		f.note("%s has not joined in %v", s.name, boarding)
	}
	if rng.IntN(2) == 0 {
		<-time.After(known) // else it is left to its lease
	}
	return s, lf, nil
}

// bury kills a ghost, and tells which process cannot be there any more. When it must be gone checkDead says: its lease does not end it.
func (s *seat) bury(lf *life, e effect) effect {
	if !e.servers {
		e.at = now()
	}
	s.kill(lf)
	e.procs, e.kills = append(e.procs, lf.number), true
	return e
}

// died says whether a node is a ghost.
func (f *fleet) died(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.ghosts, func(s *seat) bool { return s.name == name })
}

// switched says whether the record with a key has a lease that may still bury it. One that was due long ago the server has forgotten.
func (f *fleet) switched(ctx context.Context, key string) bool {
	const late = 2 * time.Second
	s, err := f.js.Stream(ctx, stream)
	if err != nil {
		return true
	}
	lease, err := s.GetLastMsgForSubject(ctx, strings.TrimSuffix(leases, ">")+key)
	if err != nil {
		return !errors.Is(err, jetstream.ErrMsgNotFound)
	}
	due, err := time.Parse("@at "+time.RFC3339, lease.Header.Get("Nats-Schedule"))
	return err == nil && time.Since(due) < late
}
