package rolebus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

var errOwnCause = errors.New("the caller's own reason")

// overs are the ways in which a caller's context ends, each with a cause of its own. The time is what is left of it.
var overs = map[string]struct {
	with func(left time.Duration) (context.Context, context.CancelFunc)
	want error
}{
	"cancelled": {func(left time.Duration) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(context.Background())
		if left == 0 {
			cancel(errOwnCause)
			return ctx, func() {}
		}
		timer := time.AfterFunc(left, func() { cancel(errOwnCause) })
		return ctx, func() { timer.Stop(); cancel(nil) }
	}, context.Canceled},
	"too late": {func(left time.Duration) (context.Context, context.CancelFunc) {
		return context.WithDeadlineCause(context.Background(), time.Now().Add(left), errOwnCause)
	}, context.DeadlineExceeded},
}

func TestEachCallTellsThatItsContextIsOver(t *testing.T) {
	calls := map[string]func(ctx context.Context, b *Bus) error{
		"Join":  func(ctx context.Context, b *Bus) error { _, err := b.Join(ctx, "new"); return err },
		"Leave": func(ctx context.Context, b *Bus) error { return b.Leave(ctx, "s") },
		"Leave that waits": func(ctx context.Context, b *Bus) error {
			b.In("s").OnLeave(func(ctx context.Context) { <-ctx.Done() })
			return b.Leave(ctx, "s")
		},
		"AddRoles":            func(ctx context.Context, b *Bus) error { return b.AddRoles(ctx, "new") },
		"AddRoles that joins": func(ctx context.Context, b *Bus) error { return b.In("new").AddRoles(ctx, "new") },
		"RemoveRoles":         func(ctx context.Context, b *Bus) error { return b.RemoveRoles(ctx, "x") },
		"SetRoles":            func(ctx context.Context, b *Bus) error { return b.SetRoles(ctx, "new") },
		"WaitFor":             func(ctx context.Context, b *Bus) error { return b.WaitFor(ctx, "nobody", 1) },
	}
	outages := map[string]func(f *fakeBucket, b *fakeBus){
		"no answer":  func(f *fakeBucket, _ *fakeBus) { f.hush() },
		"no contact": func(_ *fakeBucket, b *fakeBus) { b.link.refuse(nats.ErrDisconnected) },
		"refusals":   func(f *fakeBucket, _ *fakeBus) { f.stop() },
		"slow":       func(_ *fakeBucket, b *fakeBus) { b.link.slowDown(time.Minute) },
	}
	for call, do := range calls {
		for name, over := range overs {
			for _, left := range []time.Duration{0, 700 * time.Millisecond} {
				for outage, begin := range outages {
					t.Run(call+"/"+name+"/"+outage+"/"+left.String(), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							f := newFakeBucket()
							b := f.bus(t, "a", WithRoles("x"), WithScopes("s"))
							begin(f, b)
							ctx, cancel := over.with(left)
							defer cancel()
							err := do(ctx, b.Bus)
							if ctx.Err() == nil {
								require.ErrorIs(t, err, errFakeDown, "refused at once")
								return
							}
							require.ErrorIs(t, err, over.want)
							require.ErrorIs(t, err, errOwnCause)
							require.ErrorContains(t, err, prefix)
						})
					})
				}
			}
		}
	}
}

func TestConnectAndNewTellThatTheirContextIsOver(t *testing.T) {
	const nobody = "nats://127.0.0.1:1"
	nc, err := nats.Connect(nobody, nats.RetryOnFailedConnect(true))
	require.NoError(t, err)
	defer nc.Close()
	up := realKV(t).nc.conn()
	for name, over := range overs {
		for _, left := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(name+"/"+left.String(), func(t *testing.T) {
				for what, call := range map[string]func(context.Context) (*Bus, error){
					"Connect": func(ctx context.Context) (*Bus, error) { return Connect(ctx, nobody) },
					"New":     func(ctx context.Context) (*Bus, error) { return New(ctx, nc) },
					"New, with a connection that is up": func(ctx context.Context) (*Bus, error) {
						<-ctx.Done()
						return New(ctx, up)
					},
				} {
					ctx, cancel := over.with(left)
					b, err := call(ctx)
					cancel()
					require.Nil(t, b, what)
					require.ErrorIs(t, err, over.want, what)
					require.ErrorIs(t, err, errOwnCause, what)
				}
			})
		}
	}
}
