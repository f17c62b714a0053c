package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/found"
	"github.com/rolebus/rolebus/rolebustest"
)

type takes = func([]rolebus.Address, error)

// misbehaving are strategies that do what they must not. Each tells the address, if there is one, sooner or later; released is closed when the
// test is over, for those that nothing else ends.
var misbehaving = map[string]struct {
	does func(ctx context.Context, tell takes, good []rolebus.Address, released chan struct{}) error
	says string // the log, once
}{
	"it ignores cancel": {func(_ context.Context, tell takes, good []rolebus.Address, released chan struct{}) error {
		tell(good, nil)
		<-released
		tell(nil, errors.New("far too late"))
		return nil
	}, "does not end with its context"},
	"it goes on after cancel": {func(ctx context.Context, tell takes, good []rolebus.Address, released chan struct{}) error {
		tell(good, nil)
		<-ctx.Done()
		go func() {
			for {
				tell([]rolebus.Address{{Host: "too-late"}}, nil)
				select {
				case <-released:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}()
		return nil
	}, ""},
	"it panics": {func(_ context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell(good, nil)
		panic("at the disco")
	}, "it ended, and is called again: panic: at the disco"},
	"it panics with nil in its hands": {func(_ context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell(good, nil)
		var none *rolebus.Address
		return errors.New(none.Host)
	}, "it ended, and is called again: panic"},
	"it ends its goroutine": {func(_ context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell(good, nil)
		runtime.Goexit()
		return nil
	}, "runtime.Goexit"},
	"it ends with an error": {func(_ context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell(good, nil)
		return errors.New("tired of it")
	}, "tired of it"},
	"it floods": {func(ctx context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		for n := 0; ctx.Err() == nil; n++ {
			tell(append(dead(n%3), good...), nil)
			tell(nil, errors.New("water everywhere"))
			time.Sleep(100 * time.Microsecond) // the machine has others to serve
		}
		return nil
	}, "water everywhere"},
	"it tells from many goroutines": {func(ctx context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for ctx.Err() == nil {
					tell(good, nil)
					time.Sleep(time.Millisecond)
				}
			})
		}
		all.Wait()
		return nil
	}, ""},
	"its list has no end": {func(ctx context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell(append(good, dead(10_000)...), nil)
		<-ctx.Done()
		return nil
	}, found.ErrTooMany.Error()},
	"its addresses are none": {func(ctx context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell(append([]rolebus.Address{{}, {Host: "a b"}, {Host: strings.Repeat("x", 1<<20)}}, good...), nil)
		<-ctx.Done()
		return nil
	}, "it has no host"},
	"it keeps its list and changes it": {func(ctx context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		list := append([]rolebus.Address{}, good...)
		tell(list, nil)
		for i := 0; ctx.Err() == nil; i++ {
			for at := range list {
				list[at] = rolebus.Address{Host: fmt.Sprint("changed", i)}
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}, ""},
	"it finds routes only": {func(ctx context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell([]rolebus.Address{{Host: "10.0.0.1", Route: true}}, nil)
		tell(append(good, rolebus.Address{Host: "10.0.0.1", Route: true}), nil)
		<-ctx.Done()
		return nil
	}, "it is a route"},
	"its error panics": {func(ctx context.Context, tell takes, good []rolebus.Address, _ chan struct{}) error {
		tell(good, nil)
		tell(nil, (*nobody)(nil))
		<-ctx.Done()
		return nil
	}, "whose text panics"},
}

type nobody struct{ name string }

func (n *nobody) Error() string { return n.name }

// Whatever a strategy does, a bus with it connects if it can, works, and ends in time; that it cannot, it says; and the log names once what
// is wrong.
func TestBusesWithStrategiesThatMisbehave(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	good := []rolebus.Address{addressOf(t, srv)}
	for name, bad := range misbehaving {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			released := make(chan struct{})
			var running sync.WaitGroup
			t.Cleanup(func() {
				close(released)
				running.Wait()
			})
			strategy := func(list []rolebus.Address) rolebus.Strategy {
				return discovery.Func(func(ctx context.Context, tell func([]rolebus.Address, error)) error {
					running.Add(1)
					defer running.Done()
					return bad.does(ctx, tell, list, released)
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(strategy(nil)))
			require.ErrorIs(t, err, context.DeadlineExceeded)

			log := &lines{}
			b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy(good)), log.option())
			require.NoError(t, err)
			require.NoError(t, b.AddRoles(t.Context(), "x"))
			require.True(t, has(b, good[0])())
			if bad.says != "does not end with its context" && bad.says != "" {
				eventually(t, "the log to say "+bad.says, func() bool { return log.count(bad.says) > 0 })
			}
			require.True(t, b.Connected())
			require.Zero(t, b.Conn().Stats().Reconnects)
			require.NoError(t, b.Close())
			if bad.says != "" {
				require.Equal(t, 1, log.count(bad.says), log.text())
			}
			require.NotContains(t, log.text(), "too-late")
			require.NotContains(t, log.text(), "far too late")
		})
	}
}
