//go:build linux

package chaos_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/children"
)

// foreign is a bucket of somebody else in the same account: with a history, a TTL and data.
type foreign struct {
	mu    sync.Mutex
	made  time.Time // when the servers say that it was made; zero: it is not there yet
	is    string    // its settings
	holds string    // what is in it
	risky bool      // servers' stores were damaged since: they may have lost what was in it
}

const (
	foreignBucket = "config"
	foreignStream = "KV_" + foreignBucket
)

// lay has the foreign bucket there, as it was or anew. It says what was wrong with it until now; an error says that nobody
// knows.
func (b *foreign) lay(ctx context.Context, f *fleet, rng *rand.Rand) (wrong string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong, found, err := b.look(ctx, f)
	if err != nil || found && wrong == "" {
		return "", err
	}
	// The servers have lost it, or a process made one of its own when they had, or it is spoilt. It is as it was again.
	if err := f.js.DeleteStream(ctx, foreignStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", err
	}
	b.made = time.Time{}
	kv, err := f.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: foreignBucket, History: 10, TTL: time.Hour, Replicas: []int{1, 3}[rng.IntN(2)],
	})
	if err != nil {
		return "", err
	}
	for i := range 12 {
		if _, err := kv.Put(ctx, fmt.Sprint("limit.", i%2), fmt.Append(nil, i)); err != nil {
			return "", err
		}
	}
	s, err := f.js.Stream(ctx, foreignStream)
	if err != nil {
		return "", err
	}
	b.made, b.risky = s.CachedInfo().Created, false
	b.is, b.holds = inWords(s)
	return wrong, nil
}

// look compares the bucket with what it was. It is found if it is the very one that was made. b.mu is held.
func (b *foreign) look(ctx context.Context, f *fleet) (wrong string, found bool, err error) {
	s, err := f.js.Stream(ctx, foreignStream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return "", false, nil
	case err != nil:
		return "", false, err
	case b.made.IsZero() || !s.CachedInfo().Created.Equal(b.made):
		return "", false, nil
	}
	is, holds := inWords(s)
	return differs(b, is, holds), true, nil
}

// differs says what has become of a bucket that must stay as it is. Only what is in it may be less, if servers' stores were damaged.
func differs(b *foreign, is, holds string) string {
	switch {
	case is != b.is:
		at := 0 // of the first difference
		for at < min(len(is), len(b.is)) && is[at] == b.is[at] {
			at++
		}
		return fmt.Sprintf("the settings of the foreign bucket were …%s, and are …%s", b.is[at:min(at+200, len(b.is))], is[at:min(at+200, len(is))])
	case holds != b.holds && !b.risky:
		return fmt.Sprintf("the foreign bucket held %s, and holds %s", b.holds, holds)
	}
	return ""
}

func inWords(s jetstream.Stream) (is, holds string) {
	info := s.CachedInfo()
	config, _ := json.Marshal(info.Config)
	return string(config), fmt.Sprintf("%d messages, %d to %d", info.State.Msgs, info.State.FirstSeq, info.State.LastSeq)
}

// endanger says that what is stored may be lost from now on.
func (b *foreign) endanger() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.risky = true
}

// outcomes of a stranger.
const (
	mismatch = "mismatch" // it was told that the bucket is none of ours
	intruded = "intruded" // it got in
	silent   = "silent"   // it had no answer yet
)

// stranger is told to use a bucket that is none of ours.
type stranger struct {
	URLs     string
	Observer bool
}

// runStranger is the main function of a process that tries to.
func runStranger(in *bufio.Reader) error {
	var cfg stranger
	if err := children.ReadLine(in, &cfg); err != nil {
		return err
	}
	opts := []rolebus.Option{rolebus.WithBucket(foreignBucket), rolebus.WithNode("stranger"), rolebus.WithTTL(ttl)}
	if cfg.Observer {
		opts = append(opts, rolebus.WithObserver())
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_, err := rolebus.Connect(ctx, cfg.URLs, opts...)
	r := record{Kind: tried, Outcome: intruded}
	if err != nil {
		r.Outcome, r.Text = refused, err.Error()
		if errors.Is(err, rolebus.ErrBucketMismatch) {
			r.Outcome = mismatch
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// intrude has a process connect with the name of the foreign bucket, as a member or as an observer: it is to be told that this is
// none of ours, and to leave it as it is.
func intrude(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	if wrong, err := f.foreign.lay(ctx, f, rng); err != nil {
		f.note("foreign: %v", err) // the servers may not be in a state to have it, or to tell of it
		return effect{}, nil, nil
	} else if wrong != "" {
		f.hist.add(record{Kind: broken, Text: wrong})
	}
	var urls []string
	for _, s := range f.servers {
		urls = append(urls, s.url())
	}
	began, outcome := now(), record{Kind: tried, Outcome: silent}
	said := make(chan record, 1)
	cfg := stranger{URLs: strings.Join(urls, ","), Observer: rng.IntN(2) == 0}
	child, err := startProcess(f.dir, strangerChild, cfg, func(line []byte) {
		var r record
		if json.Unmarshal(line, &r) == nil {
			said <- r
		}
	})
	if err != nil {
		return effect{}, nil, err
	}
	return effect{}, func() error {
		child.Kill()
		select {
		case outcome = <-said:
		default:
			if said := child.Said(); said != "" {
				outcome.Text = said
			}
		}
		outcome.At, outcome.Began, outcome.Name = now(), began, "stranger"
		f.hist.add(outcome)
		ctx, cancel := context.WithTimeout(f.ctx, time.Second)
		defer cancel()
		f.foreign.mu.Lock()
		defer f.foreign.mu.Unlock()
		wrong, found, err := f.foreign.look(ctx, f)
		switch {
		case err != nil:
			f.note("foreign: %v", err)
		case wrong != "":
			f.hist.add(record{Kind: broken, Text: wrong})
		case found && outcome.Outcome == intruded: // else the servers had lost it, and it made one
			f.hist.add(record{Kind: broken, Text: "a stranger took the foreign bucket for ours"})
		}
		return nil
	}, nil
}
