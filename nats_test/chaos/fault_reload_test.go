//go:build linux

package chaos_test

import (
	"math/rand/v2"
	"time"
)

// reloadFaults are reloads of a server's configuration with lower limits.
var reloadFaults = []*faultKind{
	{name: "max-payload", class: "reload", about: aServer, weight: 6, min: time.Second, max: 7 * time.Second, begin: lowerPayload},
	{name: "max-connections", class: "reload", about: aServer, weight: 4, min: time.Second, max: 7 * time.Second, begin: lowerConnections},
}

// soundLimit is for messages: a heartbeat and a record are less, a fat state is more.
const soundLimit = 2000

// lowerPayload lets a server take only small messages. Heartbeats are small, so nothing is excused.
func lowerPayload(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	s := f.servers[p.place]
	s.tell(f, order{Op: opPayload, Limit: soundLimit})
	return effect{servers: true}, func() error { s.tell(f, order{Op: opPayload}); return nil }, nil
}

// lowerConnections closes connections to one server, which takes no more of them. The others do, so nothing is excused.
func lowerConnections(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s := f.servers[p.place]
	s.tell(f, order{Op: opConnections, Limit: 1 + rng.Int64N(2)})
	return effect{servers: true}, func() error { s.tell(f, order{Op: opConnections}); return nil }, nil
}
