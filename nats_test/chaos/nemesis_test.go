//go:build linux

package chaos_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// A plan is all faults of a run, in the order of their beginnings. It is a function of the seed and the classes.
type plan []planned

type planned struct {
	at    time.Duration // after the warm-up
	lasts time.Duration
	kind  *faultKind
	seat  string    // of a fault that is about one
	place int       // 0 to 2: of a server, if it is about one
	dice  [2]uint64 // the seed of its details
}

func (p planned) String() string {
	whom := ""
	if p.kind.about == aNode || p.kind.about == anyone {
		whom = " " + p.seat
	}
	if p.kind.about == aServer {
		whom = fmt.Sprint(" server-", p.place)
	}
	return fmt.Sprintf("%s%s for %.1f s", p.kind.name, whom, p.lasts.Seconds())
}

// target is what a kind of fault is about: two faults that overlap are not about the same.
type target int

const (
	aNode     target = iota + 1 // one node
	anyone                      // one node or observer
	theNodes                    // many of these
	aServer                     // one server
	theServer                   // the servers together
	theBucket
	everything
	nobody // it disturbs no other fault
)

// faultKind is one way to make trouble.
type faultKind struct {
	name     string
	class    string // for -faults, which also takes the name
	about    target
	weight   int
	min, max time.Duration
	// begin makes the trouble, and returns what it means and how to end it.
	begin func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error)
}

// chosen are the kinds whose class or name is in a list with commas; all if it is empty.
func chosen(list string) ([]*faultKind, error) {
	if list == "" {
		return faultKinds, nil
	}
	var kinds []*faultKind
	for want := range strings.SplitSeq(list, ",") {
		found := false
		for _, k := range faultKinds {
			if k.name == want || k.class == want {
				kinds, found = append(kinds, k), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no kind or class of faults is called %q", want)
		}
	}
	return kinds, nil
}

// newPlan fills a length of time with faults. There are two tracks: faults of nodes and their links follow each other
// all the time; those of servers and of the bucket come in storms, and the calms between them are long enough for the
// promises that hold only while the servers have been well for a while.
func newPlan(rng *rand.Rand, kinds []*faultKind, length time.Duration, seats, nodes []string) plan {
	var near, far []*faultKind
	for _, k := range kinds {
		if k.about == aNode || k.about == anyone || k.about == theNodes || k.about == nobody {
			near = append(near, k)
		} else {
			far = append(far, k)
		}
	}
	var p plan
	storm := func() time.Duration { return 5*time.Second + rand64(rng, 10*time.Second) }
	calm := func() time.Duration { return quiet + 2*expiry + rand64(rng, 2*quiet) }
	from := time.Duration(0)
	if rng.IntN(3) == 0 {
		from = calm()
	}
	for from < length && len(far) > 0 {
		to := min(from+storm(), length)
		// One of each kind as often as of another, so that those which last long are not rare: they fit nowhere else.
		if star := drawn(rng, far[rng.IntN(len(far))], from, seats, nodes); star.at+star.lasts <= length {
			p, to = append(p, star), max(to, star.at+star.lasts)
		}
		p = p.track(rng, far, from, to, seats, nodes)
		from = to + calm()
	}
	p = p.track(rng, near, 0, length, seats, nodes)
	slices.SortStableFunc(p, func(a, b planned) int { return cmp.Compare(a.at, b.at) })
	return p
}

// track adds faults of some kinds from one time to another, with short pauses between most of them.
func (p plan) track(rng *rand.Rand, kinds []*faultKind, from, to time.Duration, seats, nodes []string) plan {
	weights := 0
	for _, k := range kinds {
		weights += k.weight
	}
	for at := from + rand64(rng, time.Second); at < to && weights > 0; {
		pick := rng.IntN(weights)
		index := slices.IndexFunc(kinds, func(k *faultKind) bool {
			pick -= k.weight
			return pick < 0
		})
		next := drawn(rng, kinds[index], at, seats, nodes)
		if at+next.lasts > to || slices.ContainsFunc(p, next.collides) {
			at += 100 * time.Millisecond
			continue
		}
		p = append(p, next)
		if rng.IntN(3) == 0 { // the next may begin while this one lasts
			at += rand64(rng, next.lasts) + 100*time.Millisecond
		} else {
			at += next.lasts + 300*time.Millisecond + rand64(rng, 2*time.Second)
		}
	}
	return p
}

// drawn is a fault of a kind whose details are up to the dice.
func drawn(rng *rand.Rand, kind *faultKind, at time.Duration, seats, nodes []string) planned {
	next := planned{
		at: at, kind: kind, place: rng.IntN(3), lasts: kind.min + rand64(rng, kind.max-kind.min),
		dice: [2]uint64{rng.Uint64(), rng.Uint64()}, seat: nodes[rng.IntN(len(nodes))],
	}
	if kind.about == anyone {
		next.seat = seats[rng.IntN(len(seats))]
	}
	return next
}

func rand64(rng *rand.Rand, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(rng.Int64N(int64(d)))
}

// collides says whether two faults cannot be at the same time.
func (p planned) collides(other planned) bool {
	const rest = 500 * time.Millisecond
	if p.at > other.at+other.lasts+rest || other.at > p.at+p.lasts+rest {
		return false
	}
	onNode := func(q planned) bool {
		return q.kind.about == aNode || q.kind.about == anyone || q.kind.about == theNodes
	}
	switch {
	case p.kind.about == nobody || other.kind.about == nobody:
		return false
	case p.kind.about == everything || other.kind.about == everything:
		return true
	case onNode(p) && onNode(other):
		return p.seat == other.seat || p.kind.about == theNodes || other.kind.about == theNodes
	case p.kind.about == aServer && other.kind.about == aServer:
		return p.place == other.place
	case onNode(p) || onNode(other):
		return false
	}
	return true // of the servers together, the bucket, and one server
}

// run makes the faults of a plan, one after another or together, and returns when all are over.
func (f *fleet) run(ctx context.Context, p plan) error {
	var faults sync.WaitGroup
	var mu sync.Mutex
	var failure error
	begin := time.Now()
	for _, next := range p {
		select {
		case <-time.After(time.Until(begin.Add(next.at))):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		faults.Go(func() {
			if err := f.make(ctx, next); err != nil {
				mu.Lock()
				failure = err
				mu.Unlock()
			}
		})
	}
	faults.Wait()
	return failure
}

// make makes one fault and heals it when its time is over.
func (f *fleet) make(ctx context.Context, p planned) error {
	id := f.number()
	began := now()
	f.hist.add(record{Kind: noted, At: began, Fault: id, Text: p.String() + " begins"})
	effect, heal, err := p.kind.begin(f, p, rand.New(rand.NewPCG(p.dice[0], p.dice[1])))
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	f.hist.add(record{Kind: faulted, At: max(began, effect.at), Fault: id, Effect: effect, Text: p.String()})
	select {
	case <-time.After(p.lasts - now().since(began)):
	case <-ctx.Done():
	}
	if heal != nil {
		err = heal()
	}
	f.hist.add(record{Kind: healed, Fault: id, Text: p.String()})
	if err != nil {
		return fmt.Errorf("end of %s: %w", p, err)
	}
	return nil
}
