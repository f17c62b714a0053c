package rolebus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What the stream's leader says of itself.

func (k *kv) now(ctx context.Context) (time.Time, error) {
	info, err := k.info(ctx)
	if err != nil {
		return time.Time{}, err
	}
	k.lookAround(ctx)
	return info.TimeStamp, nil
}

func (k *kv) pulse(ctx context.Context) (pulse, error) {
	info, err := k.info(ctx)
	if err != nil {
		return pulse{}, err
	}
	last := info.State.LastTime
	if last.Before(info.Created) {
		last = info.Created
	}
	p := pulse{now: info.TimeStamp, newest: info.State.LastSeq, quiet: info.TimeStamp.Sub(last), leads: forEver}
	const election = 2 * time.Second // the first: servers wait for 4 s and more before they choose another one
	if c := info.Cluster; c != nil && c.LeaderSince != nil && c.LeaderSince.Sub(info.Created) > election {
		p.leads = info.TimeStamp.Sub(*c.LeaderSince)
	}
	if mended := k.mended.Load(); mended != nil {
		p.leads = min(p.leads, time.Since(*mended)) // before that the bucket may not have taken heartbeats, as without a leader
	}
	return p, nil
}

// info returns what the stream's leader says of the stream.
func (k *kv) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	ctx, stop := unlessRefused(ctx, k.nc, k.subj.streamAPI("INFO"))
	defer stop()
	asked := time.Now()
	stream, err := k.js.Stream(ctx, k.subj.stream())
	if err != nil {
		return nil, k.explain("ask the stream's leader", k.subj.streamAPI("INFO"), err)
	}
	k.pace.took(time.Since(asked))
	info := stream.CachedInfo()
	k.fleet.learn(fleetIn(info.Config))
	k.inspect(info)
	k.stored.Store(info.State.Msgs)
	k.age.learn(info, asked, time.Now())
	k.single.Store(info.Config.Replicas == 1 && (info.Cluster == nil || len(info.Cluster.Replicas) == 0))
	return info, nil
}

func (k *kv) identify(ctx context.Context, stranger string) error {
	ctx, cancel := context.WithTimeout(ctx, k.soon())
	defer cancel()
	_, err := k.info(ctx)
	if err == nil {
		k.fleet.estrange(stranger)
		_ = k.alone(ctx) // whose announcements come over a link may get what is written here, too: is looked at by who writes
	}
	return err
}
