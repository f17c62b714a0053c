//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// doctor asks the servers all the time whether they serve the bucket: it has a leader, all its replicas are current, and
// JetStream has a leader, too, without which nobody can make the consumer that a catch-up reads with.
type doctor struct {
	mu     sync.Mutex
	visits int
	cause  string // "" if all is well
	since  instant
	found  string // what the bucket's settings were
}

const (
	visit   = 200 * time.Millisecond
	incured = 60 * time.Second // a cluster that does not heal by itself for so long, without faults, needs an operator
)

func (f *fleet) examine() {
	f.doctor.cause, f.doctor.since = "not asked yet", now()
	for lagged := false; ; {
		cause, lags := f.complaint()
		// A replica lags behind now and then for as long as a message takes: that is no sickness.
		if lags && !lagged {
			cause = ""
		}
		lagged = lags
		f.doctor.mu.Lock()
		if (cause == "") != (f.doctor.cause == "") {
			f.doctor.since = now()
			kind := well
			if cause != "" {
				kind = sick
			}
			f.hist.add(record{Kind: kind, Text: cause})
		}
		f.doctor.cause = cause
		f.doctor.visits++
		f.doctor.mu.Unlock()
		select {
		case <-time.After(visit):
		case <-f.ctx.Done():
			return
		}
	}
}

// well says since when all is well, or why not.
func (f *fleet) well() (since instant, cause string) {
	f.doctor.mu.Lock()
	defer f.doctor.mu.Unlock()
	return f.doctor.since, f.doctor.cause
}

func (f *fleet) complaint() (cause string, lags bool) {
	ctx, cancel := context.WithTimeout(f.ctx, 2*visit)
	defer cancel()
	s, err := f.js.Stream(ctx, stream)
	f.finds(s, err)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return missing, false
	case err != nil:
		return "no answer: " + err.Error(), false
	}
	c := s.CachedInfo().Cluster
	if c == nil || c.Leader == "" {
		return "no leader", false
	}
	if len(c.Replicas) != 2 {
		return fmt.Sprintf("%d replicas beside the leader", len(c.Replicas)), false
	}
	for _, r := range c.Replicas {
		if !r.Current || r.Offline {
			return fmt.Sprintf("replica %s is not current", r.Name), !r.Offline
		}
	}
	if _, err := f.js.AccountInfo(ctx); err != nil {
		return "no leader of JetStream: " + err.Error(), false
	}
	return "", false
}

// finds takes note of what the bucket's settings are now, if they are not what they were.
func (f *fleet) finds(s jetstream.Stream, err error) {
	found := sound
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		found = missing
	case err != nil:
		found = unasked
	case !slices.Contains(s.CachedInfo().Config.Subjects, leases):
		found = maimed
	}
	if found != f.doctor.found {
		f.doctor.found = found // the examiner's alone
		f.hist.add(record{Kind: holds, Text: found})
	}
}

// guard starts servers again that ended by themselves, as a supervisor would; and if that does not help, with empty
// stores, as an operator would.
func (f *fleet) guard() {
	for tries := map[*serverSeat]int{}; ; {
		for _, s := range f.servers {
			how, yes := s.crashed()
			if !yes {
				tries[s] = 0
				continue
			}
			f.note("%s ended by itself: %s", s.cfg.Name, how)
			if tries[s]++; tries[s] > 2 {
				f.note("%s gets an empty store", s.cfg.Name)
				f.foreign.endanger()
				if err := os.RemoveAll(filepath.Join(s.cfg.Dir, "jetstream")); err != nil {
					f.note("%s: %v", s.cfg.Name, err)
				}
			}
			if err := s.start(); err != nil {
				f.note("%s does not start: %v", s.cfg.Name, err)
			}
		}
		select {
		case <-time.After(visit):
		case <-f.ctx.Done():
			return
		}
	}
}

// cure waits until the servers are well. If they do not get well by themselves, it does what an operator would: it stops
// them all, and starts them with nothing. What was so is in the processes; they say it again.
func (f *fleet) cure() (since instant, err error) {
	// What was asked before, and just after, knows nothing yet of what has changed.
	f.doctor.mu.Lock()
	first := f.doctor.visits + 4
	f.doctor.mu.Unlock()
	cured := func() bool {
		f.doctor.mu.Lock()
		defer f.doctor.mu.Unlock()
		return f.doctor.cause == "" && f.doctor.visits >= first
	}
	if f.await(incured, "", cured) != nil {
		_, cause := f.well()
		f.note("the servers do not get well in %v (%s): the operator starts them with empty stores", incured, cause)
		id := f.number()
		f.hist.add(record{Kind: faulted, Fault: id, Effect: effect{servers: true}, Text: "operator"})
		if err := f.wipe(); err != nil {
			return 0, err
		}
		f.hist.add(record{Kind: healed, Fault: id})
		if err := f.await(incured, "the servers to get well with empty stores", cured); err != nil {
			_, cause := f.well()
			return 0, fmt.Errorf("%w: %s", err, cause)
		}
	}
	since, _ = f.well()
	return since, nil
}

func (f *fleet) wipe() error {
	f.foreign.endanger()
	for _, s := range f.servers {
		s.kill()
	}
	for _, s := range f.servers {
		if err := os.RemoveAll(filepath.Join(s.cfg.Dir, "jetstream")); err != nil {
			return err
		}
	}
	var starts sync.WaitGroup
	errs := make([]error, len(f.servers))
	for i, s := range f.servers {
		starts.Go(func() { errs[i] = s.start() })
	}
	starts.Wait()
	return errors.Join(errs...)
}
