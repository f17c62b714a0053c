//go:build linux

package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bucketFaults are what an operator with a heavy hand does to the bucket.
var bucketFaults = []*faultKind{
	{name: "delete", class: "bucket", about: theBucket, weight: 3, min: 500 * time.Millisecond, max: 2 * time.Second, begin: onBucket(
		func(ctx context.Context, f *fleet, _ *rand.Rand) error { return f.js.DeleteStream(ctx, stream) })},
	{name: "purge", class: "bucket", about: theBucket, weight: 3, min: 500 * time.Millisecond, max: 2 * time.Second, begin: onBucket(purge)},
	{name: "rollup", class: "bucket", about: theBucket, weight: 3, min: 500 * time.Millisecond, max: 2 * time.Second, begin: onBucket(rollup)},
}

func onBucket(do func(context.Context, *fleet, *rand.Rand) error) func(*fleet, planned, *rand.Rand) (effect, func() error, error) {
	return func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		ctx, cancel := context.WithTimeout(f.ctx, time.Second)
		defer cancel()
		if err := do(ctx, f, rng); err != nil {
			f.note("%s: %v", p.kind.name, err) // the servers may not be in a state to be told
		}
		return effect{servers: true}, nil, nil
	}
}

// purge removes all, or the records, or the leases, or one node.
func purge(ctx context.Context, f *fleet, rng *rand.Rand) error {
	s, err := f.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	switch rng.IntN(4) {
	case 0:
		return s.Purge(ctx)
	case 1:
		return s.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bucket+".>"))
	case 2:
		return s.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bucket+"=lease.>"))
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bucket+".*."+f.someNode(rng).name))
}

// rollup has one message take the place of a record, or of everything.
func rollup(ctx context.Context, f *fleet, rng *rand.Rand) error {
	s := f.someNode(rng)
	msg := nats.NewMsg(fmt.Sprintf("$KV.%s.%s.%s", bucket, s.scopes[rng.IntN(len(s.scopes))], s.name))
	msg.Header.Set("Nats-Rollup", []string{"sub", "all"}[rng.IntN(2)])
	if rng.IntN(2) == 0 {
		msg.Header.Set("KV-Operation", "PURGE")
	} else {
		msg.Data = []byte("not a record")
	}
	_, err := f.js.PublishMsg(ctx, msg)
	return err
}

func (f *fleet) someNode(rng *rand.Rand) *seat {
	for {
		if s := f.seats[rng.IntN(len(f.seats))]; !s.observer {
			return s
		}
	}
}
