package rolebus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
)

// BucketPlan is what [Provision] would do.
type BucketPlan struct {
	Bucket string
	Make   bool     // there is none: it would be made
	Mend   []string // the settings that would be changed, such as "max age is 1h0m0s, must be none"

	// Command does the same with the nats command line, also in a script; "" if there is nothing to do.
	Command string
}

// Provision makes the bucket, or mends its settings, as [Connect] would, and does nothing else: no node joins. It is for a
// deployment job that alone has the right to do that, beside processes with [WithoutProvisioning]. A bucket that is as it must be is left
// alone, so it may be called any number of times.
//
// It takes the options of the processes; those that are not about the bucket mean nothing here: [WithBucket], [WithDomain],
// [WithAPIPrefix], [WithReplicas], [WithStorage], [WithMaxBytes], [WithPlacement], [WithRequestTimeout], [WithLogger] and [WithHooks] count. What is passing, such as a
// cluster without a leader, is tried again until ctx is over. The error matches [ErrBucketMismatch] if there is a stream that is
// somebody else's, or cannot be mended: then nothing was changed.
func Provision(ctx context.Context, nc *nats.Conn, opts ...Option) error {
	return failed("provision", onBucket(ctx, nc, opts, func(ctx context.Context, k *kv) error { return k.ensure(ctx) }))
}

// PlanProvision says what [Provision] would do, and does nothing. The error is that of Provision, as far as it can be known before:
// not, say, that the account has no room, or demands a limit, which Command then lacks unless [WithMaxBytes] says one.
func PlanProvision(ctx context.Context, nc *nats.Conn, opts ...Option) (plan BucketPlan, err error) {
	err = onBucket(ctx, nc, opts, func(ctx context.Context, k *kv) (err error) {
		plan, err = k.plan(ctx)
		return err
	})
	return plan, failed("plan provision", err)
}

// onBucket does something with the bucket that options tell of.
func onBucket(ctx context.Context, nc *nats.Conn, opts []Option, do func(context.Context, *kv) error) error {
	o, err := newOptions(opts)
	if err := errors.Join(given(ctx), err, check(nc != nil, "the connection is nil")); err != nil {
		return err
	}
	why := &waiting{log: o.log}
	_, err = within(ctx, why, func() (struct{}, error) { return struct{}{}, o.onBucket(ctx, nc, why, do) }, func(struct{}) {})
	return err
}

func (o *options) onBucket(ctx context.Context, nc *nats.Conn, why *waiting, do func(context.Context, *kv) error) error {
	if _, err := connected(ctx, nc, why); err != nil {
		return err
	}
	o.observer, o.settings.untouched = false, false // whoever calls this means it
	k, err := newKV(newTrunk(nc, false), o, newNoise(o.log))
	if err != nil {
		return err
	}
	k.fleet = newIdentity(o.bucket, o.log, func() {})
	err = o.insist(ctx, why, func() error { return do(ctx, k) })
	return errors.Join(err, o.hooks.close(o.timeout))
}

// plan says what ensure would do.
func (k *kv) plan(ctx context.Context) (BucketPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	plan := BucketPlan{Bucket: k.subj.bucket}
	info, err := k.find(ctx)
	if errors.Is(err, ErrNoBucket) {
		plan.Make, plan.Command = true, k.creation()
		return plan, nil
	}
	if err != nil {
		return plan, err
	}
	diffs, want, err := k.judge(info, true)
	if plan.Mend = inWords(diffs); err == nil && len(diffs) > 0 {
		plan.Command = k.update(want)
	}
	return plan, err
}
