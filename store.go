package rolebus

import (
	"context"
	"math"
	"time"

	"github.com/nats-io/nats.go"
)

// store is what a scope needs of the bucket. kv is the one that talks JetStream; tests have another.
type store interface {
	// subscribe starts to hear the announcements of a scope; of every one if it has no name.
	subscribe(ctx context.Context, scope string) (*feed, error)
	// newest returns the generation of the record of the scope that was written last; 0 if it has none. To be sure it asks
	// the stream's leader, too, if that answers soon: a replica that was damaged may lack what was written last.
	newest(ctx context.Context, scope string, sure bool) (uint64, error)
	// read returns the records of the scope whose generation is at least from, in that order, up to at least the
	// generation to, and the generation of the last one.
	read(ctx context.Context, scope string, from, to uint64) ([]change, uint64, error)
	// scopes returns the names of the scopes in which the bucket holds a node, sorted.
	scopes(ctx context.Context) ([]string, error)
	// get returns a node's record, which is the zero change if there is none or it cannot be read, and its generation.
	get(ctx context.Context, scope, node string) (change, uint64, error)
	// lead returns the same as get, as the stream's leader has it. A replica that lags, or was damaged, has less.
	lead(ctx context.Context, scope, node string) (change, uint64, error)
	// readLeases returns those of the scope, the longest armed first, up to the first that cannot be overdue where no TTL is shorter
	// than ttl; or all.
	readLeases(ctx context.Context, scope string, ttl time.Duration, all bool) (leases, error)
	// standing returns what the stream's leader has in the scope.
	standing(ctx context.Context, scope string) (standing, error)
	// newestLease returns the generation of the lease of the scope that was armed last, as the stream's leader has it; 0 if
	// there is none.
	newestLease(ctx context.Context, scope string) (uint64, error)
	// put writes a record in the place of the one of a generation, else errConflict.
	put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error)
	// arm sets the dead-man's switch: when c is due by the server's clock, it writes c over the record, provided now,
	// not then, that the record is of a generation, else errConflict.
	arm(ctx context.Context, scope string, c change, record uint64) error
	// bury writes a tombstone in the place of the record of a generation, and disarms the switch.
	bury(ctx context.Context, scope string, c change, replaces uint64) error
	// now returns the server's clock.
	now(ctx context.Context) (time.Time, error)
	// pulse asks the stream's leader how it is.
	pulse(ctx context.Context) (pulse, error)
	// ensure makes the bucket if it is missing, or mends its settings.
	ensure(ctx context.Context) error
	// identify looks at the bucket's identity, and finds out whether a stranger's is its own by now.
	identify(ctx context.Context, stranger string) error
	// check returns ErrTooLarge if the message that stores c is larger than the server takes.
	check(scope string, c change) error
	// decode reads an announcement.
	decode(msg *nats.Msg) (change, error)
}

// pulse is what the stream's leader says of itself.
type pulse struct {
	now    time.Time     // its clock
	newest uint64        // the generation of what was stored last
	quiet  time.Duration // how long ago that was, or the bucket was made
	leads  time.Duration // for how long it has been the leader, and has taken heartbeats; forEver if it always has
}

const forEver = time.Duration(math.MaxInt64)

// feed is a subscription to the announcements of one scope.
type feed struct {
	messages chan *nats.Msg
	dropped  <-chan nats.SubStatus // a message was dropped, because the scope's loop fell behind
	stop     func()
}

const feedSize = 4096 // announcements that may wait for a scope's loop
