package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ledger has what the workers say.
type ledger struct {
	mu     sync.Mutex
	done   map[int]int // how often a job was done
	last   map[int]int // a customer's last job that was done for the first time
	early  int         // jobs that were done before an earlier one of their customer
	stints []*stint
}

// stint is the time for which a worker works in a partition.
type stint struct {
	name      string
	partition int
	from, to  time.Time // to is zero while it does
}

func newLedger() *ledger { return &ledger{done: map[int]int{}, last: map[int]int{}} }

// hear takes down what a worker says.
func (l *ledger) hear(name string, s said) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s.What {
	case begins:
		l.stints = append(l.stints, &stint{name: name, partition: s.Partition, from: s.At})
	case ends:
		for _, st := range l.stints {
			if st.name == name && st.partition == s.Partition && st.to.IsZero() {
				st.to = s.At
			}
		}
	case does:
		if l.done[s.Job.ID]++; l.done[s.Job.ID] == 1 {
			if last, any := l.last[s.Job.Customer]; any && s.Job.ID < last {
				l.early++
			}
			l.last[s.Job.Customer] = s.Job.ID
		}
	}
}

// gone takes down that a worker was killed, and could not say that it ends.
func (l *ledger) gone(name string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, st := range l.stints {
		if st.name == name && st.to.IsZero() {
			st.to = at
		}
	}
}

// jobs is how many jobs were done, and how many of them more than once.
func (l *ledger) jobs() (done, twice int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.done {
		if n > 1 {
			twice++
		}
	}
	return len(l.done), twice
}

// owners says who works where now: nobody is "", and of two it is neither.
func (l *ledger) owners() (owners [partitions]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, st := range l.stints {
		switch {
		case !st.to.IsZero():
		case owners[st.partition] == "":
			owners[st.partition] = st.name
		default:
			owners[st.partition] = "two"
		}
	}
	return owners
}

// idle is the longest time for which nobody worked in a partition that somebody has now, and had before a time.
func (l *ledger) idle(since time.Time) (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var busy [partitions]time.Time // until when somebody worked there
	for _, st := range l.sortedLocked() {
		if until := busy[st.partition]; !until.IsZero() && st.from.After(since) {
			longest = max(longest, st.from.Sub(until))
		}
		if st.to.After(busy[st.partition]) {
			busy[st.partition] = st.to
		}
	}
	return longest
}

// shared is how often two worked in one partition at the same time, and for how long at the most.
func (l *ledger) shared() (times int, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var before [partitions]*stint
	for _, st := range l.sortedLocked() {
		if b := before[st.partition]; b != nil && b.to.After(st.from) {
			times++
			longest = max(longest, b.to.Sub(st.from))
		}
		before[st.partition] = st
	}
	return times, longest
}

func (l *ledger) sortedLocked() []*stint {
	return slices.SortedFunc(slices.Values(l.stints), func(a, b *stint) int {
		return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.name, b.name))
	})
}

// print tells what became of the jobs; the error says what should not be.
func (l *ledger) print(sent int, strict bool) error {
	done, twice := l.jobs()
	times, longest := l.shared()
	together := "two never worked in one partition at the same time"
	if times > 0 {
		together = fmt.Sprintf("two worked in one partition at the same time %d times, for %v at the most", times, longest.Round(time.Microsecond))
	}
	_, err := fmt.Printf("\n%d of %d jobs were done, each customer's in their order; %d of them twice\n%s\n", done, sent, twice, together)
	switch {
	case err != nil:
		return err
	case done != sent:
		return fmt.Errorf("%d jobs are lost", sent-done)
	case l.early > 0:
		return fmt.Errorf("%d jobs were done too early", l.early)
	case strict && times > 0:
		return errors.New("strict partitions were shared")
	}
	return nil
}
