//go:build linux

package exclusive_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolebus/rolebus/internal/children"
)

// A nemesis is one goroutine that makes faults one after another, of some kinds. There are several at once: each kind says of what only one fault
// at a time may be.
type nemesis struct {
	kinds []fault
	rng   *rand.Rand
	pause time.Duration // at most, between two
}

// fault is one way to make trouble. It returns how to end it, if it does not end by itself.
type fault struct {
	name     string
	weight   int
	min, max time.Duration
	node     func(f *fleet, s *seat, rng *rand.Rand) (heal func() error, err error) // what is done to one, or
	all      func(f *fleet, rng *rand.Rand) (heal func() error, err error)          // to what all share
	cluster  bool                                                                   // it takes several servers
	clock    bool                                                                   // it takes clocks that can be moved
}

// nemeses are those of a run: two for the nodes, one for servers and their disks, and one for what is stored.
func nemeses(seed uint64, servers int, chosen string) (list []*nemesis, err error) {
	known := map[string]bool{}
	for i, kinds := range [][]fault{nodeFaults, nodeFaults, serverFaults, storedFaults} {
		n := &nemesis{rng: rand.New(rand.NewPCG(seed, uint64(i))), pause: []time.Duration{time.Second, time.Second, 4 * time.Second, 2 * time.Second}[i]}
		for _, k := range kinds {
			known[k.name] = true
			if (chosen == "" || slices.Contains(strings.Split(chosen, ","), k.name)) && (!k.cluster || servers > 1) && (!k.clock || children.ClocksMove) {
				n.kinds = append(n.kinds, k)
			}
		}
		if len(n.kinds) > 0 {
			list = append(list, n)
		}
	}
	for name := range strings.SplitSeq(chosen, ",") {
		if name != "" && !known[name] {
			err = errors.Join(err, fmt.Errorf("no such fault: %q", name))
		}
	}
	return list, err
}

// harm makes faults for so long, and returns when all are over.
func (f *fleet) harm(list []*nemesis, length time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var mu sync.Mutex
	var failure error
	var all sync.WaitGroup
	for _, n := range list {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := n.strike(ctx, f); err != nil {
					mu.Lock()
					failure = errors.Join(failure, err)
					mu.Unlock()
					cancel()
				}
				rest(ctx, rand64(n.rng, n.pause))
			}
		})
	}
	all.Wait()
	return failure
}

// strike makes one fault, and heals it when its time is over.
func (n *nemesis) strike(ctx context.Context, f *fleet) error {
	k := n.pick()
	lasts := k.min + rand64(n.rng, k.max-k.min)
	whom, begin := "", k.all
	if k.node != nil {
		s := f.seats[n.rng.IntN(len(f.seats))]
		if !s.busy.TryLock() {
			return nil
		}
		defer s.busy.Unlock()
		if !s.now.Running() { // its name was taken, or it was told to leave: somebody starts it again
			f.tell("%s#%d has ended, and is started again", s.name, s.now.number)
			return f.start(s, "node")
		}
		whom = fmt.Sprintf(" %s#%d", s.name, s.now.number)
		begin = func(f *fleet, rng *rand.Rand) (func() error, error) { return k.node(f, s, rng) }
	}
	f.tell("%s%s for %.1f s", k.name, whom, lasts.Seconds())
	heal, err := begin(f, n.rng)
	if err != nil {
		return fmt.Errorf("%s%s: %w", k.name, whom, err)
	}
	if heal == nil {
		return nil
	}
	rest(ctx, lasts)
	if err := heal(); err != nil {
		return fmt.Errorf("the end of %s%s: %w", k.name, whom, err)
	}
	f.tell("%s%s is over", k.name, whom)
	return nil
}

func (n *nemesis) pick() fault {
	weights := 0
	for _, k := range n.kinds {
		weights += k.weight
	}
	pick := n.rng.IntN(weights)
	for _, k := range n.kinds {
		if pick -= k.weight; pick < 0 {
			return k
		}
	}
	panic("weights")
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func rand64(rng *rand.Rand, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(rng.Int64N(int64(d)))
}
