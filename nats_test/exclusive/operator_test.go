//go:build linux

package exclusive_test

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// incured is how long a cluster has to heal by itself once there are no faults any more. One of which two servers have lost their store, one soon
// after the other, may find no leader for its stream ever again: then it needs an operator.
const incured = 60 * time.Second

// cure waits until the servers serve the bucket. If they do not get well by themselves it does what an operator would: it stops them all, and starts
// them with nothing, which loses all that they had acknowledged. It returns since when all must become well: since the last fault, or since that.
func (f *fleet) cure(since instant) (instant, error) {
	if f.await(incured, "", f.serves) == nil {
		return since, nil
	}
	f.tell("the servers do not get well in %v: the operator starts them with empty stores", incured)
	start, err := wipe(f, nil, f.servers)
	if err == nil {
		err = start()
	}
	if err == nil {
		err = f.await(incured, "the servers to get well with empty stores", f.serves)
	}
	return now(), err
}

// serves says whether the bucket is served: its stream has a leader, or the servers agree that there is none.
func (f *fleet) serves() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := f.js.Stream(ctx, stream)
	if err != nil {
		return errors.Is(err, jetstream.ErrStreamNotFound)
	}
	cluster := s.CachedInfo().Cluster
	return cluster == nil || cluster.Leader != ""
}
