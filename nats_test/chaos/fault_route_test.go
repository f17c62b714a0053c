//go:build linux

package chaos_test

import (
	"math/rand/v2"
	"time"
)

// routeFaults happen to the ways between servers. Who is connected to a server that is split off does not reach the
// bucket; who is connected to the others does, as soon as they have a leader.
var routeFaults = []*faultKind{
	{name: "isolate", class: "partition", about: aServer, weight: 6, min: 500 * time.Millisecond, max: 12 * time.Second, begin: isolate},
	{name: "one-way", class: "partition", about: aServer, weight: 5, min: 500 * time.Millisecond, max: 10 * time.Second, begin: oneWay},
	{name: "pair", class: "partition", about: aServer, weight: 4, min: 500 * time.Millisecond, max: 10 * time.Second, begin: splitPair},
	{name: "all-apart", class: "partition", about: theServer, weight: 5, min: 500 * time.Millisecond, max: 8 * time.Second, begin: allApart},
	{name: "slow-routes", class: "partition", about: aServer, weight: 3, min: time.Second, max: 8 * time.Second, begin: slowRoutes},
}

// way gives the way on which one server's bytes come to another a shape, whichever of the two has dialed.
func (f *fleet) way(from, to int, holds bool) {
	f.routes[from][to].hold(holds, true)
	f.routes[to][from].hold(holds, false)
}

// hold holds, or lets go, one direction, and leaves the rest of the link's shape as it is.
func (l *link) hold(holds, up bool) {
	s, _ := l.state()
	if up {
		s.holdsUp = holds
	} else {
		s.holdsDn = holds
	}
	l.become(s, false)
}

func others(place int) [2]int { return [2]int{(place + 1) % 3, (place + 2) % 3} }

// between gives the links between two servers a shape.
func (f *fleet) between(a, b int, s shape, reset bool) {
	f.routes[a][b].become(s, reset)
	f.routes[b][a].become(s, reset)
}

// partition is a connection that is refused, or one on which nothing comes, by the dice.
func partition(rng *rand.Rand) (s shape, reset bool) {
	if rng.IntN(2) == 0 {
		return shape{refuses: true}, true
	}
	return shape{holdsUp: true, holdsDn: true}, false
}

func isolate(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	place := f.struck(p, rng)
	s, reset := partition(rng)
	for _, other := range others(place) {
		f.between(place, other, s, reset)
	}
	e := effect{cuts: []string{f.servers[place].cfg.Name}, servers: true}
	return e, func() error {
		for _, other := range others(place) {
			f.between(place, other, shape{}, rng.IntN(2) == 0)
		}
		return nil
	}, nil
}

func oneWay(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	from := f.struck(p, rng)
	to := others(from)[rng.IntN(2)]
	f.way(from, to, true)
	e := effect{cuts: []string{f.servers[from].cfg.Name, f.servers[to].cfg.Name}, servers: true}
	return e, func() error { f.way(from, to, false); return nil }, nil
}

func splitPair(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	a := p.place
	b := others(a)[rng.IntN(2)]
	s, reset := partition(rng)
	f.between(a, b, s, reset)
	e := effect{cuts: []string{f.servers[a].cfg.Name, f.servers[b].cfg.Name}, servers: true}
	return e, func() error { f.between(a, b, shape{}, rng.IntN(2) == 0); return nil }, nil
}

// allApart leaves no majority: nobody reaches the bucket, so nobody may be said to be lost.
func allApart(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	s, reset := partition(rng)
	shaped := func(s shape, reset bool) {
		for a := range f.servers {
			f.between(a, (a+1)%3, s, reset)
		}
	}
	shaped(s, reset)
	return effect{servers: true}, func() error { shaped(shape{}, rng.IntN(2) == 0); return nil }, nil
}

func slowRoutes(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	delay := 5*time.Millisecond + rand64(rng, 45*time.Millisecond)
	shaped := func(s shape) {
		for _, other := range others(p.place) {
			f.between(p.place, other, s, false)
		}
	}
	shaped(shape{delay: delay})
	return effect{servers: true}, func() error { shaped(shape{}); return nil }, nil
}
