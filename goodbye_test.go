package rolebus

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

var goneByGoodbye = []string{"RoleRemoved a x left", "NodeLeft a left"}

func TestAGoodbyeThatIsNotAnsweredIsTriedAgain(t *testing.T) {
	for name, end := range map[string]func(*fakeBus) error{
		"Close": func(b *fakeBus) error { return b.Close() },
		"Leave": func(b *fakeBus) error { return b.Leave(context.Background(), "default") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
				seen := watchLog(t.Context(), b.Scope)
				seen.take()
				f.hush()
				ended := make(chan error)
				go func() { ended <- end(a) }()
				time.Sleep(requestPatience(fakeTTL, 0) + time.Second)
				require.Empty(t, seen.take())
				f.start()
				require.NoError(t, <-ended)
				require.Equal(t, goneByGoodbye, seen.take())
			})
		})
	}
}

func TestAGoodbyeGoesOutWhenTheConnectionIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		for _, refusal := range []error{nats.ErrDisconnected, nil} { // it fails at once, or nobody answers
			a.link.refuse(refusal)
			if refusal == nil {
				f.hush()
			}
			ended := make(chan error)
			go func() { ended <- a.Close() }()
			time.Sleep(1300 * time.Millisecond) // between two tries, and within one
			synctest.Wait()
			a.link.refuse(nil)
			f.start()
			from := time.Now()
			for _, m := range a.staying() {
				m.connected()
			}
			require.NoError(t, <-ended)
			require.Zero(t, time.Since(from), "at once")
			require.Equal(t, goneByGoodbye, seen.take())
			a = f.bus(t, "a", WithRoles("x"))
			seen.take()
		}
	})
}

func TestAGoodbyeThatCannotGetThroughEndsAtOnce(t *testing.T) {
	for _, refusal := range []error{nats.ErrConnectionClosed, fmt.Errorf("%w: %w", nats.ErrPermissionViolation, nats.ErrTimeout)} {
		synctest.Test(t, func(t *testing.T) {
			a := newFakeBucket().bus(t, "a")
			a.link.refuse(refusal)
			from := time.Now()
			err := a.Close()
			require.ErrorIs(t, err, ErrNotConfirmed)
			require.ErrorIs(t, err, refusal)
			require.Zero(t, time.Since(from))
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, newer := f.bus(t, "a"), f.bus(t, "a", WithRoles("x"))
		<-a.Done()
		from := time.Now()
		require.NoError(t, a.Close())
		require.Zero(t, time.Since(from))
		require.Equal(t, []Role{"x"}, newer.MyRoles().Slice())
	})
}

func TestAGoodbyeHasItsTime(t *testing.T) {
	for name, tc := range map[string]struct {
		patience time.Duration // of the call; 0 for none of its own
		end      func(context.Context, *fakeBus) error
		want     time.Duration
	}{
		"Close":                {0, func(_ context.Context, b *fakeBus) error { return b.Close() }, time.Second + lastWord},
		"Leave":                {time.Minute, func(ctx context.Context, b *fakeBus) error { return b.Leave(ctx, "default") }, time.Second},
		"Leave, for less time": {300 * time.Millisecond, func(ctx context.Context, b *fakeBus) error { return b.Leave(ctx, "default") }, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a := f.bus(t, "a", WithRequestTimeout(time.Second))
				f.hush()
				ctx, cancel := context.WithTimeout(t.Context(), tc.patience)
				defer cancel()
				from := time.Now()
				err := tc.end(ctx, a)
				require.ErrorIs(t, err, ErrNotConfirmed)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, tc.want, time.Since(from))
			})
		})
	}
}

func TestAGoodbyeWhoseAnswerWasLostIsNotSaidTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a")
		a.member.Load().keeper.store = &unheard{store: a.link}
		seq := f.seq
		require.NoError(t, a.Close())
		require.Equal(t, seq+1, f.seq)
	})
}

// unheard is a bucket whose answer to the first goodbye is lost.
type unheard struct {
	store
	lost bool
}

func (u *unheard) bury(ctx context.Context, scope string, c change, replaces uint64) error {
	err := u.store.bury(ctx, scope, c, replaces)
	if !u.lost {
		u.lost, err = true, nats.ErrTimeout
	}
	return err
}
