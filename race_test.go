package rolebus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What calls return whose scope is left, or whose Bus stops, while they are under way.

// racingCalls are all calls that may wait, and what their documentation lets them return then, beside nil and ErrClosed.
var racingCalls = map[string]struct {
	call func(ctx context.Context, b *Bus, i int) error
	may  []error
}{
	"AddRoles": {func(ctx context.Context, b *Bus, i int) error {
		return b.In("s").AddRoles(ctx, Role(fmt.Sprint("a", i)))
	}, []error{ErrNotJoined}},
	"RemoveRoles": {func(ctx context.Context, b *Bus, i int) error {
		return b.In("s").RemoveRoles(ctx, Role(fmt.Sprint("a", i)))
	}, []error{ErrNotJoined}},
	"SetRoles": {func(ctx context.Context, b *Bus, i int) error {
		return b.In("s").SetRoles(ctx, Role(fmt.Sprint("s", i)))
	}, []error{ErrNotJoined}},
	"Join": {func(ctx context.Context, b *Bus, _ int) error {
		_, err := b.Join(ctx, "s")
		return err
	}, []error{ErrAlreadyJoined}},
	"WaitFor": {func(ctx context.Context, b *Bus, _ int) error { return b.In("s").WaitFor(ctx, "nobody", 1) }, nil},
	"Watch": {func(ctx context.Context, b *Bus, _ int) error {
		for range b.Watch(ctx) {
		}
		return b.Err() // never nil: the default scope is not left
	}, nil},
}

func TestCallsThatRaceWithCloseReturnWhatTheyPromise(t *testing.T) {
	for round := range 24 {
		for _, leaving := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				f.bus(t, "other", WithRoles("x"), WithScopes("s"))
				b := f.bus(t, "b")
				b.link.slowDown(time.Duration(round%3) * time.Millisecond)
				var calls sync.WaitGroup
				for name, c := range racingCalls {
					for i := range 3 {
						calls.Go(func() {
							for {
								err := c.call(context.Background(), b.Bus, i)
								if errors.Is(err, ErrClosed) {
									if b.Err() == nil {
										t.Errorf("%s: %v, and Err is nil", name, err)
									}
									return
								}
								if !leaving && errors.Is(err, ErrNotJoined) {
									t.Errorf("%s: nobody has left: %v", name, err)
								}
								allowed := err == nil && name != "Watch" && name != "WaitFor"
								for _, may := range c.may {
									allowed = allowed || errors.Is(err, may)
								}
								if !allowed {
									t.Errorf("%s: %v", name, err)
									return
								}
								time.Sleep(100 * time.Microsecond)
							}
						})
					}
				}
				if leaving {
					calls.Go(func() {
						for b.Err() == nil {
							err := b.Leave(context.Background(), "s")
							if err != nil && !errors.Is(err, ErrNotJoined) && !errors.Is(err, ErrClosed) {
								t.Errorf("Leave: %v", err)
							}
							time.Sleep(300 * time.Microsecond)
						}
					})
				}
				time.Sleep(time.Duration(round) * 333 * time.Microsecond)
				for range round%2 + 1 {
					calls.Go(func() {
						if err := b.Close(); err != nil {
							t.Errorf("Close: %v", err)
						}
					})
				}
				calls.Wait()
			})
		}
	}
}

// A context that is over does not hide that the Bus has stopped, or that the scope was left: only without these is a change still
// wanted. Which of them a call sees first is left to chance.
func TestTheReasonThatIsFinalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithScopes("s"))
		left, closed := a.In("s").member.Load(), a.member.Load()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, a.Leave(t.Context(), "s"))
		only := func(m *member, want error) {
			for range 30 {
				for _, err := range []error{m.confirmed(over, &wish{rev: 99}), m.visible(over, life{maxNumber, maxNumber})} {
					for _, final := range []error{ErrClosed, ErrNotJoined, ErrNotConfirmed} {
						require.Equal(t, final == want, errors.Is(err, final), "%v", err)
					}
				}
			}
		}
		only(left, ErrNotJoined)
		only(closed, ErrNotConfirmed)
		require.NoError(t, a.Close())
		only(left, ErrClosed)
		only(closed, ErrClosed)
	})
}

func TestAChangeInAScopeThatIsBeingLeftDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a")
		f.hush()
		changed := make(chan error)
		go func() { changed <- a.AddRoles(t.Context(), "x") }()
		synctest.Wait()
		go func() { _ = a.Leave(t.Context(), "default") }()
		from := time.Now()
		require.ErrorIs(t, <-changed, ErrNotJoined)
		require.Zero(t, time.Since(from))
		f.start()
	})
}

func TestErrIsSetBeforeAWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		release := make(chan struct{})
		older := f.bus(t, "a", WithHandler(Handler{OnNodeJoined: func(Event) { <-release }}))
		watch := func() error {
			for range older.Watch(t.Context()) {
			}
			return older.Err()
		}
		ended := make(chan error, 1)
		go func() { ended <- watch() }()
		waited := make(chan error, 1)
		go func() {
			_ = older.WaitFor(t.Context(), "nobody", 1)
			waited <- older.Err()
		}()
		synctest.Wait()
		require.NoError(t, older.Err())
		f.bus(t, "a")
		require.ErrorIs(t, <-ended, ErrSuperseded, "else it seems to be the end of the work")
		require.ErrorIs(t, <-waited, ErrSuperseded)
		select {
		case <-older.Done():
			t.Fatal("a handler is still running")
		default:
		}
		close(release)
		<-older.Done()
	})
}
