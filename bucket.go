package rolebus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How the bucket is found, made and mended. settings.go says what its settings must be, whose.go what may be mended.

// minServer is the first server that can schedule messages.
const minServer = "2.12.0"

func (k *kv) ensure(ctx context.Context) error {
	if err := k.alone(ctx); err != nil {
		return fmt.Errorf("bucket %q: %w", k.subj.bucket, err)
	}
	info, err := k.provide(ctx)
	if errors.Is(err, ErrBucketMismatch) && k.limit.Load() != 0 {
		k.amiss(err) // not at the start: then it is returned
	}
	if err != nil {
		return fmt.Errorf("bucket %q: %w", k.subj.bucket, err)
	}
	k.limit.Store(int64(info.Config.MaxMsgSize))
	k.fleet.learn(fleetIn(info.Config))
	return nil
}

// provide finds the bucket and mends it, or makes it, as far as this process may.
func (k *kv) provide(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	info, err := k.find(ctx)
	if errors.Is(err, ErrNoBucket) && !k.settings.untouched {
		info, err = k.create(ctx)
	}
	if err != nil {
		return nil, err
	}
	return k.adjust(ctx, info, true)
}

// find asks for the stream. If there is none the error matches ErrNoBucket.
func (k *kv) find(ctx context.Context) (*jetstream.StreamInfo, error) {
	if found := k.nc.ConnectedServerVersion(); k.subj.prefix == "" && olderThan(found, minServer) {
		return nil, fmt.Errorf("%w: needed %s or newer, found %s", ErrServerTooOld, minServer, found)
	}
	asking, stop := unlessRefused(ctx, k.nc, k.subj.streamAPI("INFO"))
	defer stop()
	stream, err := k.js.Stream(asking, k.subj.stream())
	switch {
	case err == nil:
		return stream.CachedInfo(), nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w: %w", ErrNoBucket, err)
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return nil, k.noJetStream(ctx, err)
	}
	return nil, k.explain("look", k.subj.streamAPI("INFO"), err)
}

// create makes the stream, with as many replicas as were asked for. If that was left open, with three, or with one: two need
// both to be up, so they keep a bucket worse than one.
func (k *kv) create(ctx context.Context) (info *jetstream.StreamInfo, err error) {
	cfg := marked(k.config(), newFleetID())
	attempts := []int{3, 1}
	if cfg.Replicas > 0 {
		attempts = []int{cfg.Replicas}
	}
	// A cluster that is still forming has too few peers for a moment; what is made now stays for good.
	forming := time.Now().Add(k.timeout / 2)
	var fewer error
	for _, cfg.Replicas = range attempts {
		err = fits(k.sizes(0), func(limit int64) error {
			cfg.MaxBytes = limit
			for {
				asking, stop := unlessRefused(ctx, k.nc, k.subj.streamAPI("CREATE"))
				stream, err := k.js.CreateStream(asking, cfg)
				stop()
				if err == nil {
					info = stream.CachedInfo()
				}
				if !hasCode(err, codeNoPeers) && !hasCode(err, codeNoStore) || time.Now().After(forming) || !sleep(ctx, lastRetry/4) {
					return err
				}
			}
		})
		if !hasCode(err, codeNoPeers) && !hasCode(err, codeNotReplicas) && !hasCode(err, codeNoTier) {
			break
		}
		fewer = err
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return k.find(ctx) // another process made it meanwhile
	case err != nil:
		return nil, k.unmade(err, cfg)
	case !info.Config.AllowMsgSchedules:
		return nil, fmt.Errorf("%w: needed %s or newer; the server did not take message schedules", ErrServerTooOld, minServer)
	}
	if fewer != nil && !hasCode(fewer, codeNotReplicas) {
		k.log.Warn("the bucket is made with one replica, on one server; for more, when they are possible: WithReplicas", "bucket", k.subj.bucket, "error", fewer)
	}
	k.hooks.tellBucket(BucketInfo{Bucket: k.subj.bucket, Made: true})
	return info, nil
}

// unmade says why the stream could not be made, and what helps.
func (k *kv) unmade(err error, cfg jetstream.StreamConfig) error {
	if missing := k.missing(k.subj.streamAPI("CREATE"), err); missing != err {
		return fmt.Errorf("the bucket is missing, and cannot be made from here: %w", missing)
	}
	if refusal := refused(k.nc, k.subj.streamAPI("CREATE")); refusal != nil {
		return fmt.Errorf("the bucket is missing, and making it is refused: give the right, or make it by %s: %w: %w", k.creation(), refusal, err)
	}
	if hasCode(err, codeNoPeers) {
		err = fmt.Errorf("waiting for servers that are up, fit the placement and have room: %d, one for each replica: %w", cfg.Replicas, err)
	}
	return k.explain("make the bucket", k.subj.streamAPI("CREATE"), k.withMend(err))
}

// adjust brings a stream that is there to our settings where it differs, as far as this process may.
func (k *kv) adjust(ctx context.Context, info *jetstream.StreamInfo, wishes bool) (*jetstream.StreamInfo, error) {
	diffs, want, err := k.judge(info, wishes)
	if k.reads && err == nil {
		diffs = slices.DeleteFunc(diffs, func(d settingDiff) bool { return !d.blinds })
	}
	switch {
	case err != nil:
		return nil, err
	case len(diffs) == 0:
		return info, nil
	case k.settings.untouched:
		return nil, k.unmended(diffs, want, errUntouched)
	}
	err = k.mend(ctx, diffs, want, &info)
	if err != nil {
		return nil, k.unmended(diffs, want, k.explain("mend", k.subj.streamAPI("UPDATE"), k.withMend(k.missing(k.subj.streamAPI("UPDATE"), err))))
	}
	now := time.Now()
	k.mended.Store(&now)
	k.log.Warn("the bucket had other settings, mended", "bucket", k.subj.bucket, "were", strings.Join(inWords(diffs), "; "))
	k.hooks.tellBucket(BucketInfo{Bucket: k.subj.bucket, Mended: inWords(diffs)})
	return info, nil
}

var errUntouched = errors.New("this process changes no bucket")

// mend gives the stream other settings.
func (k *kv) mend(ctx context.Context, diffs []settingDiff, want jetstream.StreamConfig, info **jetstream.StreamInfo) error {
	sizes := []int64{want.MaxBytes}
	if have := (*info).Config.MaxBytes; want.MaxBytes != have && cramped(have, (*info).State.Bytes) {
		sizes = k.sizes(more(have))
	}
	return fits(sizes, func(limit int64) error {
		want.MaxBytes = limit
		asking, stop := unlessRefused(ctx, k.nc, k.subj.streamAPI("UPDATE"))
		updated, err := k.js.UpdateStream(asking, want)
		stop()
		if err != nil {
			return err
		}
		*info = updated.CachedInfo()
		k.limit.Store(int64((*info).Config.MaxMsgSize))
		for _, d := range diffs {
			if left, _ := k.differences(*info, true); slices.ContainsFunc(left, func(l settingDiff) bool { return l.name == d.name }) {
				return errors.New("the server kept some settings")
			}
		}
		return nil
	})
}

// olderThan compares two versions by their numbers; one that cannot be read is not older.
func olderThan(version, limit string) bool {
	have, want := versionNumbers(version), versionNumbers(limit)
	return have != nil && slices.Compare(have, want) < 0
}

func versionNumbers(version string) []int {
	core, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	var numbers []int
	for part := range strings.SplitSeq(core, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		numbers = append(numbers, n)
	}
	return numbers
}
