package rolebus

import (
	"context"
	"time"
)

// contact is how an observer, who has no heartbeat, learns whether the bus can be believed: it asks the stream's leader.
// Any replica answers a read, but without a leader no lease can be renewed, nor by one whose replicas do not follow:
// then it answers, but for longer than a heartbeat's interval nothing was stored. A new leader tells of an outage, too.
//
// It must know of an outage before the first lease runs out, two thirds of a TTL after it began: it asks within a quarter,
// and knows a fifth later that there is no leader; that nothing was stored for 5/12 of a TTL it knows at 8/12.
type contact struct {
	store store
	clock *clock
	pace  *pace
	ttl   time.Duration
	trust *trust
	moved func()        // contact was lost or regained
	wake  chan struct{} // ask now

	rhythm func() time.Duration // how often something is stored while all is well; see member.rhythm
}

// run asks until ctx is over.
func (k *contact) run(ctx context.Context) {
	timer := time.NewTimer(jitter(k.ttl / 4))
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
			timer.Reset(jitter(k.ttl / 4))
		} else {
			timer.Reset(jitter(retry))
			retry = min(2*retry, lastRetry, k.ttl/6)
		}
	}
}

func (k *contact) ask(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, requestPatience(k.ttl, k.pace.trip()))
	defer cancel()
	asked := k.clock.machine.now()
	p, err := k.store.pulse(bounded)
	if ctx.Err() != nil {
		return err
	}
	now := time.Now()
	if err == nil {
		k.clock.tell(p.now, asked)
		k.trust.told(now, p, k.rhythm())
	}
	if err == nil && k.trust.succeed(now) || err != nil && k.trust.fail() {
		k.moved()
	}
	return err
}
