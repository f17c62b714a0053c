//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
	{name: "mirror", class: "bucket", about: theBucket, weight: 7, min: 4 * time.Second, max: 7 * time.Second, begin: mirrored},
	{name: "edit", class: "bucket", about: theBucket, weight: 7, min: 4 * time.Second, max: 7 * time.Second, begin: edit},
	{name: "foreign", class: "foreign", about: nobody, weight: 6, min: 3500 * time.Millisecond, max: 5 * time.Second, begin: intrude},
	// Who is dead then has no switch any more. It is nobody else's business, so it excuses nothing else.
	{name: "lost-lease", class: "bucket", about: nobody, weight: 5, min: time.Second, max: 2 * time.Second, begin: loseLease},
}

func onBucket(do func(context.Context, *fleet, *rand.Rand) error) func(*fleet, planned, *rand.Rand) (effect, func() error, error) {
	return func(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
		ctx, cancel := context.WithTimeout(f.ctx, time.Second)
		defer cancel()
		if err := do(ctx, f, rng); err != nil {
			f.note("%s: %v", p.kind.name, err) // the servers may not be in a state to be told
		}
		return effect{servers: true, mends: true}, nil, nil
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
		return s.Purge(ctx, jetstream.WithPurgeSubject(leases))
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

// loseLease has somebody take away the lease of one who has just died.
func loseLease(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	s, lf, err := f.ghost(rng)
	if err != nil {
		return effect{}, nil, err
	}
	e := s.bury(lf, effect{})
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	bucket, err := f.js.Stream(ctx, stream)
	if err == nil {
		err = bucket.Purge(ctx, jetstream.WithPurgeSubject(strings.TrimSuffix(leases, ">")+s.scopes[0]+"."+s.name))
	}
	if err != nil {
		f.note("the lease of %s: %v", s.name, err)
	}
	return e, nil, nil
}

const mirror = "MIRROR"

// mirrored deletes the bucket while a mirror answers what is read directly from it. Before that the bucket has one replica or three.
func mirrored(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	ctx, cancel := context.WithTimeout(f.ctx, 3*time.Second)
	defer cancel()
	undo := func() error {
		return f.insist("delete "+mirror, func(ctx context.Context) error {
			if err := f.js.DeleteStream(ctx, mirror); !errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
			return nil
		})
	}
	e := effect{servers: true, mends: true}
	m, err := f.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: mirror, Replicas: []int{1, 3}[rng.IntN(2)], Mirror: &jetstream.StreamSource{Name: stream}, MirrorDirect: true, AllowDirect: true,
		MaxMsgsPerSubject: 1, AllowRollup: true, AllowMsgTTL: true,
	})
	if err != nil {
		f.note("mirror: %v", err) // the servers may not be in a state to have one
		return e, undo, nil
	}
	if f.await(time.Second, "", func() bool {
		info, err := m.Info(ctx)
		return err == nil && info.Mirror != nil && info.Mirror.Lag == 0 && info.State.Msgs > 0
	}) != nil {
		f.note("the mirror has not caught up in a second")
	}
	if s, err := f.js.Stream(ctx, stream); err == nil && rng.IntN(2) == 0 {
		cfg := s.CachedInfo().Config
		cfg.Replicas = 1
		if _, err := f.js.UpdateStream(ctx, cfg); err != nil {
			f.note("mirror: one replica: %v", err)
		}
	}
	if err := f.js.DeleteStream(ctx, stream); err != nil {
		f.note("mirror: delete: %v", err)
	}
	return e, undo, nil
}

// edits are what "nats stream edit" can do to the bucket while it is in use. Those that the fleet cannot mend, or may not, as whoever
// did that perhaps had a reason, are undone at the end.
var edits = []struct {
	name  string
	mends bool // by the fleet
	kept  bool // by the servers, for good: then only removal helps
	do    func(*jetstream.StreamConfig)
}{
	{"no leases", true, false, func(c *jetstream.StreamConfig) {
		c.Subjects = slices.DeleteFunc(slices.Clone(c.Subjects), func(s string) bool { return s == leases })
	}},
	{"max-msgs 3", false, false, func(c *jetstream.StreamConfig) { c.MaxMsgs = 3 }},
	{"max-bytes 1000", false, false, func(c *jetstream.StreamConfig) { c.MaxBytes = 1000 }},
	{"max-msg-size", false, false, func(c *jetstream.StreamConfig) { c.MaxMsgSize = soundLimit }}, // less, and nobody could join
	{"max-age 1s", false, false, func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Second, time.Second }},
	{"no republish", false, false, func(c *jetstream.StreamConfig) { c.RePublish = nil }},
	{"no direct", false, false, func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
	{"no acks", false, false, func(c *jetstream.StreamConfig) { c.NoAck = true }},
	{"replicas 1", false, false, func(c *jetstream.StreamConfig) { c.Replicas = 1 }},
	{"sealed", false, true, func(c *jetstream.StreamConfig) { c.Sealed = true }},
}

func edit(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	chosen := edits[rng.IntN(len(edits))]
	f.note("edit: %s", chosen.name)
	e := effect{servers: true, mends: chosen.mends}
	bucket, err := f.js.Stream(ctx, stream)
	if err != nil {
		f.note("edit: %v", err)
		return e, nil, nil
	}
	before := bucket.CachedInfo().Config
	after := before
	chosen.do(&after)
	if _, err := f.js.UpdateStream(ctx, after); err != nil {
		f.note("edit: %v", err)
	}
	return e, func() error {
		return f.insist("undo the edit", func(ctx context.Context) error {
			var err error
			if chosen.kept {
				err = f.js.DeleteStream(ctx, stream)
			} else {
				_, err = f.js.UpdateStream(ctx, before)
			}
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil
			}
			return err
		})
	}, nil
}

func (f *fleet) someNode(rng *rand.Rand) *seat {
	for {
		if s := f.seats[rng.IntN(len(f.seats))]; !s.observer {
			return s
		}
	}
}
