//go:build linux

package chaos_test

import (
	"math/rand/v2"
	"time"
)

// reloadFaults are reloads of a server's configuration with lower limits.
var reloadFaults = []*faultKind{
	{name: "max-connections", class: "reload", about: aServer, weight: 4, min: time.Second, max: 7 * time.Second, begin: lowerConnections},
}

const (
	slimPayload = 300  // a heartbeat is more
	soundLimit  = 2000 // a heartbeat is less, a fat state more
)

// lowerPayload lets a server take only small messages. Where a heartbeat is too large, too, who is connected there does not reach the
// bucket; where it is not, nothing is excused.
func lowerPayload(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s, e, limit := f.servers[p.place], effect{servers: true}, int64(soundLimit)
	if rng.IntN(2) == 0 {
		limit, e.cuts = slimPayload, []string{s.cfg.Name}
	}
	s.tell(f, order{Op: opPayload, Limit: limit})
	return e, func() error { s.tell(f, order{Op: opPayload}); return nil }, nil
}

// lowerConnections closes connections to one server, which takes no more of them. The others do, so nothing is excused.
func lowerConnections(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s := f.servers[p.place]
	s.tell(f, order{Op: opConnections, Limit: 1 + rng.Int64N(2)})
	return effect{servers: true}, func() error { s.tell(f, order{Op: opConnections}); return nil }, nil
}
