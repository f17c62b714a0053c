//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// fullFaults take the room that the bucket needs away, and give it back. Until then no heartbeat is stored, and no switch that comes
// due: nats-server forgets such a switch, unless the stream gets another leader. So in half of them somebody dies meanwhile.
var fullFaults = []*faultKind{
	{name: "full-server", class: "full", about: theBucket, weight: 9, min: 4 * time.Second, max: 7 * time.Second, begin: full(fillServers)},
	{name: "full-account", class: "full", about: theBucket, weight: 7, min: 4 * time.Second, max: 7 * time.Second, begin: full(limitAccount)},
}

const (
	// maxStore is what a server has for its streams: little, as it has to be filled.
	maxStore = 8 << 20
	filler   = "FILLER"
	filling  = 512 << 10
)

func full(how func(context.Context, *fleet) (undo func() error, err error)) func(*fleet, planned, *rand.Rand) (effect, func() error, error) {
	return func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		e := effect{servers: true}
		var s *seat
		var lf *life
		if rng.IntN(2) == 0 {
			var err error
			if s, lf, err = f.ghost(rng); err != nil {
				return e, nil, err
			}
		}
		ctx, cancel := context.WithTimeout(f.ctx, 3*time.Second)
		defer cancel()
		undo, err := how(ctx, f)
		if err != nil {
			f.note("%s: %v", p.kind.name, err) // the servers may not be in a state to be filled
		}
		if s != nil {
			e = s.bury(lf, e)
		}
		return e, undo, nil
	}
}

// fillServers fills all that the servers may store with a stream of somebody else.
func fillServers(ctx context.Context, f *fleet) (undo func() error, err error) {
	undo = func() error {
		return f.insist("delete "+filler, func(ctx context.Context) error {
			if err := f.js.DeleteStream(ctx, filler); !errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
			return nil
		})
	}
	if _, err := f.js.CreateStream(ctx, jetstream.StreamConfig{Name: filler, Subjects: []string{"filler"}, Replicas: 3}); err != nil {
		return undo, err
	}
	for range 2 * maxStore / filling {
		if _, err := f.js.Publish(ctx, "filler", make([]byte, filling)); err != nil {
			var api *jetstream.APIError
			if errors.As(err, &api) {
				return undo, nil // it is full
			}
			return undo, err
		}
	}
	return undo, errors.New("there is still room")
}

// limitAccount has each server allow the account less than it has stored.
func limitAccount(_ context.Context, f *fleet) (undo func() error, err error) {
	f.askServers(order{Op: opLimit, Limit: 1})
	return func() error { f.askServers(order{Op: opLimit}); return nil }, nil
}

// insist tries something until it is done. What is still not done after a while the end of the run will show.
func (f *fleet) insist(what string, do func(context.Context) error) error {
	var last error
	if f.await(20*time.Second, "", func() bool {
		ctx, cancel := context.WithTimeout(f.ctx, time.Second)
		defer cancel()
		last = do(ctx)
		return last == nil
	}) != nil {
		f.note("%s: %v", what, last)
	}
	return nil
}
