package rolebus

import (
	"context"
	"time"
)

// contact is how an observer, who has no heartbeat, learns whether the bus can be believed: as often as a member
// heartbeats, and no more patiently, it asks for the stream's leader. Any replica answers a read, but without a leader no
// lease can be renewed. It must know of an outage before the first lease runs out, two thirds of a TTL after it began: it
// asks within one third, and knows a fifth later.
type contact struct {
	store store
	ttl   time.Duration
	trust *trust
	moved func()        // contact was lost or regained
	wake  chan struct{} // ask now
}

// run asks until ctx is over.
func (k *contact) run(ctx context.Context) {
	timer := time.NewTimer(jitter(k.ttl / 3))
	defer timer.Stop()
	for retry := firstRetry; ; {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		if k.ask(ctx) == nil {
			retry = firstRetry
			timer.Reset(jitter(k.ttl / 3))
		} else {
			timer.Reset(jitter(retry))
			retry = min(2*retry, lastRetry, k.ttl/6)
		}
	}
}

func (k *contact) ask(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, requestPatience(k.ttl))
	defer cancel()
	_, err := k.store.now(bounded)
	switch {
	case ctx.Err() != nil:
	case err == nil && k.trust.succeed(time.Now()), err != nil && k.trust.fail():
		k.moved()
	}
	return err
}
