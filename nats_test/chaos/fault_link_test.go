//go:build linux

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// linkFaults happen to the way between one node and the servers.
var linkFaults = []*faultKind{
	{name: "cut", class: "link", about: anyone, weight: 6, min: 300 * time.Millisecond, max: 9 * time.Second, begin: func(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
		return f.linkFault(p, shape{refuses: true}, effect{nodes: []string{p.seat}, silences: true}, true, false)
	}},
	{name: "stall", class: "link", about: anyone, weight: 6, min: 300 * time.Millisecond, max: 9 * time.Second, begin: func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		return f.linkFault(p, shape{holdsUp: true, holdsDn: true}, effect{nodes: []string{p.seat}, silences: true}, false, rng.IntN(2) == 0)
	}},
	{name: "mute", class: "link", about: anyone, weight: 5, min: 300 * time.Millisecond, max: 9 * time.Second, begin: func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		return f.linkFault(p, shape{holdsUp: true}, effect{nodes: []string{p.seat}, silences: true}, false, rng.IntN(2) == 0)
	}},
	// A deaf node's heartbeats may still arrive: it is lost or not, as its own rules have it.
	{name: "deaf", class: "link", about: anyone, weight: 5, min: 300 * time.Millisecond, max: 9 * time.Second, begin: func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		return f.linkFault(p, shape{holdsDn: true}, effect{nodes: []string{p.seat}}, false, rng.IntN(2) == 0)
	}},
	{name: "slow", class: "link", about: anyone, weight: 5, min: time.Second, max: 9 * time.Second, begin: func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		delay := 10*time.Millisecond + rand64(rng, 90*time.Millisecond)
		return f.linkFault(p, shape{delay: delay}, effect{bends: []string{p.seat}}, false, false)
	}},
	{name: "lossy", class: "link", about: anyone, weight: 5, min: time.Second, max: 9 * time.Second, begin: func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		s := shape{delay: time.Millisecond, stalls: 600 * time.Millisecond, resets: 0.01}
		return f.linkFault(p, s, effect{nodes: []string{p.seat}}, false, false)
	}},
	// Connections that are reset can be made anew at once: this excuses nothing.
	{name: "reset", class: "link", about: anyone, weight: 5, min: 100 * time.Millisecond, max: 500 * time.Millisecond, begin: func(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
		return f.linkFault(p, shape{}, effect{bends: []string{p.seat}}, true, false)
	}},
	// Nor does one server that cannot be reached, while there are others.
	{name: "refused", class: "link", about: anyone, weight: 4, min: time.Second, max: 6 * time.Second, begin: refusedByOne},
	{name: "slow-consumer", class: "load", about: anyone, weight: 5, min: time.Second, max: 8 * time.Second, begin: slowConsumer},
	{name: "flood", class: "load", about: nobody, weight: 3, min: time.Second, max: 3 * time.Second, begin: flood},
}

// allServers are the places of the servers.
var allServers = []int{0, 1, 2}

// linkFault gives all links of a seat a shape, and a good one at the end, with or without a reset.
func (f *fleet) linkFault(p planned, sh shape, e effect, cut, resetAfter bool) (effect, func() error, error) {
	s := f.seat(p.seat)
	s.link(allServers, sh, cut)
	return e, func() error { s.link(allServers, shape{}, resetAfter); return nil }, nil
}

func refusedByOne(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	s, one := f.seat(p.seat), []int{p.place}
	s.link(one, shape{refuses: true}, true)
	return effect{bends: []string{p.seat}}, func() error { s.link(one, shape{}, false); return nil }, nil
}

// slowConsumer has one process not hear what the others, who change their roles all the time, make the servers say.
func slowConsumer(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	e, heal, err := f.linkFault(p, shape{holdsDn: true}, effect{nodes: []string{p.seat}}, false, false)
	for range 300 {
		if s := f.seats[rng.IntN(len(f.seats))]; s.name != p.seat {
			s.change(s.scopes[rng.IntN(len(s.scopes))], rng, time.Duration(1+rng.IntN(20))*time.Millisecond, 100)
		}
	}
	return e, heal, err
}

// flood makes many short connections to the servers.
func flood(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	const connections, atOnce = 300, 20
	var floods sync.WaitGroup
	for range atOnce {
		place := rng.IntN(len(f.servers))
		floods.Go(func() {
			for range connections / atOnce {
				f.shortConnection(f.servers[place].cfg.Port)
			}
		})
	}
	return effect{}, func() error { floods.Wait(); return nil }, nil
}

func (f *fleet) shortConnection(port int) {
	conn, err := net.DialTimeout("tcp", fmt.Sprint("127.0.0.1:", port), time.Second)
	if err != nil {
		return // the server may be down
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write([]byte("CONNECT {}\r\nPING\r\n"))
	_, _ = conn.Read(make([]byte, 1024))
}
