//go:build linux

package selfformed_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// fault is something that is done to the cluster, from which it recovers by itself.
type fault struct {
	name string
	do   func(f *fleet, rng *rand.Rand) error
	// all is of those that stop every process at once: only where a seed is marked for that.
	all bool
}

var faults = []fault{
	{name: "kill", do: killSome},
	{name: "freeze", do: freezeSome},
	{name: "lose", do: loseStores},
	{name: "replace", do: replaceSome},
	{name: "stranger", do: strangerBeside},
	{name: "discovery", do: discoveryFails},
	{name: "split", do: splitSome},
	{name: "roll", do: roll},
	{name: "renew", do: renew},
	{name: "leave", do: leaveOne},
	{name: "power", do: powerFails, all: true},
}

// between is a time between two.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

// some are as many places, at most, as the cluster survives.
func (f *fleet) some(rng *rand.Rand) []*place {
	most := (f.size - 1) / 2
	list := slices.Clone(f.places)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:1+rng.IntN(most)]
}

// startAgain starts what was stopped, and shows all to all.
func (f *fleet) startAgain(places []*place) error {
	for _, p := range places {
		if err := f.start(p); err != nil {
			return err
		}
	}
	f.show()
	return nil
}

// shortOrLong is a time after which what stopped is back: mostly before it is replaced.
func (f *fleet) shortOrLong(rng *rand.Rand) time.Duration {
	switch rng.IntN(3) {
	case 0:
		return 0
	case 1:
		return between(rng, 0, f.grace)
	}
	return between(rng, f.grace, 3*f.grace)
}

func killSome(f *fleet, rng *rand.Rand) error {
	places := f.some(rng)
	for _, p := range places {
		f.kill(p)
	}
	time.Sleep(f.shortOrLong(rng))
	return f.startAgain(places)
}

func freezeSome(f *fleet, rng *rand.Rand) error {
	return f.freeze(f.some(rng), between(rng, 100*time.Millisecond, 3*f.grace))
}

func loseStores(f *fleet, rng *rand.Rand) error {
	places := f.some(rng)
	for _, p := range places {
		f.kill(p)
	}
	for _, p := range places {
		f.tell("%s has lost its store", p.name)
		if err := os.RemoveAll(p.dir); err != nil {
			return err
		}
	}
	time.Sleep(f.shortOrLong(rng))
	return f.startAgain(places)
}

func replaceSome(f *fleet, rng *rand.Rand) error {
	places := f.some(rng)
	for _, p := range places {
		f.kill(p)
		f.remove(p)
	}
	time.Sleep(f.shortOrLong(rng))
	var fresh []*place
	for range places {
		fresh = append(fresh, f.add())
	}
	return f.startAgain(fresh)
}

func strangerBeside(f *fleet, rng *rand.Rand) error {
	p := f.add()
	f.places = f.places[:len(f.places)-1] // it is none of ours
	f.shows[p.on.V4.String()] = true
	f.tell("a stranger, %s", p.name)
	if err := f.startWith(p, "another secret of others"); err != nil {
		return err
	}
	p.now.child.orders <- order{Do: doShow, Hosts: f.hosts()}
	f.show()
	time.Sleep(between(rng, 2*time.Second, 6*time.Second))
	f.mu.Lock()
	s := p.now.state
	f.mu.Unlock()
	f.kill(p)
	delete(f.shows, p.on.V4.String())
	f.free = append(f.free, p.on)
	f.show()
	if s != nil && (s.Cluster != "" || s.Ready || len(s.Members) > 0 || len(s.Spares) > 1) {
		return errors.New("a stranger, who has another secret, has learnt of the cluster")
	}
	return nil
}

func discoveryFails(f *fleet, rng *rand.Rand) error {
	f.tell("discovery fails")
	var away []*place
	if rng.IntN(2) == 0 {
		away = f.some(rng)
		for _, p := range away {
			f.kill(p)
		}
	}
	until := time.Now().Add(between(rng, time.Second, 5*time.Second))
	for first := true; time.Now().Before(until); first = false {
		if !first && len(away) > 0 {
			for _, p := range away {
				if err := f.start(p); err != nil {
					return err
				}
			}
			away = nil
		}
		for _, p := range f.places {
			o := order{Do: doShow}
			switch rng.IntN(3) {
			case 0:
				o.Fails = "the name server does not answer"
			case 1:
				o.Hosts = []string{}
			case 2:
				for _, host := range f.hosts() {
					if rng.IntN(2) == 0 {
						o.Hosts = append(o.Hosts, host)
					}
				}
			}
			if p.now.child.running() {
				p.now.child.orders <- o
			}
		}
		time.Sleep(between(rng, 100*time.Millisecond, time.Second))
	}
	f.tell("discovery is well")
	return f.startAgain(away)
}

func splitSome(f *fleet, rng *rand.Rand) error {
	f.split(f.some(rng), between(rng, 500*time.Millisecond, 4*f.grace))
	return nil
}

// roll is a rolling update in a hurry: nobody waits for more than that the one before has started.
func roll(f *fleet, _ *rand.Rand) error {
	for _, p := range slices.Clone(f.places) {
		if err := f.end(p, doClose); err != nil {
			return err
		}
		if err := f.startAgain([]*place{p}); err != nil {
			return err
		}
	}
	return nil
}

// renew is a rolling update under new names: each leaves for good when another one has started.
func renew(f *fleet, _ *rand.Rand) error {
	for _, p := range slices.Clone(f.places) {
		if err := f.startAgain([]*place{f.add()}); err != nil {
			return err
		}
		if err := f.end(p, doLeave); err != nil {
			return err
		}
		f.remove(p)
		f.show()
	}
	return nil
}

func leaveOne(f *fleet, rng *rand.Rand) error {
	p := f.places[rng.IntN(len(f.places))]
	if err := f.end(p, doLeave); err != nil {
		return err
	}
	f.remove(p)
	f.show()
	time.Sleep(f.shortOrLong(rng))
	return f.startAgain([]*place{f.add()})
}

// powerFails ends everything at once.
func powerFails(f *fleet, rng *rand.Rand) error {
	places := slices.Clone(f.places)
	for _, p := range places {
		f.goes(p.now, true)
	}
	for _, p := range places {
		f.kill(p)
	}
	time.Sleep(f.shortOrLong(rng))
	rng.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	return f.startAgain(places)
}
