// Package found follows a strategy of discovery, whatever it does, for the root package and for package discovery, and keeps what it
// has found: nothing that works goes away because something could not be learnt.
//
//	Discover -> told -> Kept: what stands now -> changed
//	   \ panics, fails, ends: called again after a while
package found

import (
	"errors"
	"fmt"
	"slices"
)

// Most is how many addresses of one source are used. NATS needs no more to find a cluster, and a list without end would be asked to its
// end whenever no server answers.
const Most = 1024

// Errors that stand for themselves.
var (
	// ErrEmpty says that a list was empty, so that the one before it stays.
	ErrEmpty = errors.New("it lists no address")
	// ErrTooMany says that a list had more than [Most].
	ErrTooMany = fmt.Errorf("it lists too many addresses: only %d of them are used, list fewer", Most)
)

// Kept is what a source told last, in the order in which it told it. The zero value has nothing.
type Kept[A comparable] struct{ list []A }

// List returns it. It is never changed in place.
func (k *Kept[A]) List() []A { return k.list }

// Take takes in a list, or why there is none, or both if the list lacks something, and says whether anything changed. Only a list that is
// whole and not empty lets anything go. Of too many those come first that stand already: so it is always the same that are used. Its error
// is the one that it was given, ErrEmpty, or ErrTooMany.
func (k *Kept[A]) Take(told []A, err error) (changed bool, problem error) {
	if err == nil && len(told) == 0 {
		err = ErrEmpty
	}
	whole := err == nil
	stands := make(map[A]bool, len(k.list))
	for _, a := range k.list {
		stands[a] = true
	}
	room := Most // for those that do not stand
	if whole {
		again := make(map[A]bool, len(k.list))
		for _, a := range told {
			if stands[a] {
				again[a] = true
			}
		}
		room -= len(again)
	} else {
		room -= len(k.list) // none of them goes
	}
	next := make([]A, 0, min(len(told)+len(k.list), Most))
	seen := make(map[A]bool, cap(next))
	for _, a := range told {
		switch {
		case seen[a]:
			continue
		case stands[a]:
		case room == 0:
			if err == nil {
				err = ErrTooMany
			}
			continue
		default:
			room--
		}
		seen[a] = true
		next = append(next, a)
	}
	if !whole {
		for _, a := range k.list {
			if !seen[a] {
				next = append(next, a)
			}
		}
	}
	changed = !same(k.list, next)
	if changed {
		k.list = next
	}
	return changed, err
}

// same says whether two lists have the same in any order; each has it once.
func same[A comparable](a, b []A) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.Equal(a, b) {
		return true
	}
	in := make(map[A]bool, len(a))
	for _, x := range a {
		in[x] = true
	}
	for _, x := range b {
		if !in[x] {
			return false
		}
	}
	return true
}

// Diff returns what is in next and not in before, and the other way round.
func Diff[A comparable](before, next []A) (came, went []A) {
	had, has := make(map[A]bool, len(before)), make(map[A]bool, len(next))
	for _, a := range before {
		had[a] = true
	}
	for _, a := range next {
		if has[a] = true; !had[a] {
			came = append(came, a)
		}
	}
	for _, a := range before {
		if !has[a] {
			went = append(went, a)
		}
	}
	return came, went
}
