//go:build linux

package exclusive_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// storedFaults are what people and programs that do not know better do to the bucket, and to claims in it.
var storedFaults = []fault{
	{name: "purge-claim", weight: 8, all: onClaim("a claim was purged", false, func(ctx context.Context, f *fleet, s jetstream.Stream, subject string, _ *rand.Rand) error {
		return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	})},
	{name: "purge-claims", weight: 6, all: onClaim("all claims were purged", true, func(ctx context.Context, _ *fleet, s jetstream.Stream, _ string, rng *rand.Rand) error {
		return s.Purge(ctx, jetstream.WithPurgeSubject(kinds[rng.IntN(len(kinds))]))
	})},
	{name: "delete-claim", weight: 6, all: onClaim("a claim was deleted", false, func(ctx context.Context, f *fleet, _ jetstream.Stream, subject string, _ *rand.Rand) error {
		return f.put(ctx, subject, "DEL", "")
	})},
	{name: "purge-marker", weight: 6, all: onClaim("a claim was purged", false, func(ctx context.Context, f *fleet, _ jetstream.Stream, subject string, _ *rand.Rand) error {
		return f.put(ctx, subject, "PURGE", "")
	})},
	{name: "garbage", weight: 6, all: onClaim("garbage was written over a claim", false, func(ctx context.Context, f *fleet, _ jetstream.Stream, subject string, rng *rand.Rand) error {
		return f.put(ctx, subject, "", []string{"garbage", "{}", `{"node":7}`, ""}[rng.IntN(4)])
	})},
	{name: "old-claim", weight: 8, min: 200 * time.Millisecond, max: 3 * time.Second, all: oldClaim},
	{name: "purge-all", weight: 4, all: onClaim("the bucket was purged", true, func(ctx context.Context, _ *fleet, s jetstream.Stream, _ string, _ *rand.Rand) error {
		return s.Purge(ctx)
	})},
	{name: "delete-bucket", weight: 4, all: onClaim("the bucket was deleted", true, func(ctx context.Context, f *fleet, _ jetstream.Stream, _ string, _ *rand.Rand) error {
		return f.js.DeleteStream(ctx, stream)
	})},
}

// kinds are the subjects of all claims.
var kinds = []string{"$KV." + bucket + ".*.claim.*", "$KV." + bucket + ".*.seat.*"}

// requestTime is how long a request of the test's own may take: the servers may not be in a state to answer.
const requestTime = time.Second

// someClaim returns the bucket, and the subject of a claim that is stored.
func (f *fleet) someClaim(ctx context.Context, rng *rand.Rand) (jetstream.Stream, string, error) {
	s, err := f.js.Stream(ctx, stream)
	if err != nil {
		return nil, "", err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(kinds[rng.IntN(len(kinds))]))
	if err != nil {
		return nil, "", err
	}
	var subjects []string
	for subject := range info.State.Subjects {
		subjects = append(subjects, subject)
	}
	if len(subjects) == 0 {
		return nil, "", errors.New("there are no claims")
	}
	slices.Sort(subjects)
	return s, subjects[rng.IntN(len(subjects))], nil
}

// onClaim does something to a claim, or to the bucket, as well as that goes just now.
func onClaim(what string, all bool, do func(ctx context.Context, f *fleet, s jetstream.Stream, subject string, rng *rand.Rand) error) func(*fleet, *rand.Rand) (func() error, error) {
	return func(f *fleet, rng *rand.Rand) (func() error, error) {
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		defer cancel()
		from := now()
		s, subject, err := f.someClaim(ctx, rng)
		if err == nil {
			err = do(ctx, f, s, subject, rng)
			of := subject
			if all {
				of = ""
			}
			f.lost(from, what, of)
		}
		f.tell("%s: %s: %v", what, subject, err)
		return nil, nil
	}
}

// put writes over what stands at a subject.
func (f *fleet) put(ctx context.Context, subject, operation, text string) error {
	msg := nats.NewMsg(subject)
	msg.Data = []byte(text)
	if operation != "" {
		msg.Header.Set("KV-Operation", operation)
	}
	if operation == "PURGE" {
		msg.Header.Set("Nats-Rollup", "sub")
	}
	_, err := f.js.PublishMsg(ctx, msg)
	return err
}

// oldClaim has somebody write a claim again that he read a while ago.
func oldClaim(f *fleet, rng *rand.Rand) (func() error, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	s, subject, err := f.someClaim(ctx, rng)
	var old *jetstream.RawStreamMsg
	if err == nil {
		old, err = s.GetLastMsgForSubject(ctx, subject)
	}
	if err != nil {
		f.tell("old-claim: %v", err)
		return nil, nil
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		defer cancel()
		msg := nats.NewMsg(subject)
		msg.Data = old.Data
		for key, values := range old.Header {
			if key != nats.ExpectedLastSubjSeqHdr && key != nats.MsgIdHdr {
				msg.Header[key] = values
			}
		}
		from := now()
		_, err := f.js.PublishMsg(ctx, msg)
		f.lost(from, "an older claim was written again", subject)
		f.tell("old-claim: %s: %v", subject, err)
		return nil
	}, nil
}
