package rolebus

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type strategyFunc func(ctx context.Context, found func([]Address, error)) error

func (f strategyFunc) Discover(ctx context.Context, found func([]Address, error)) error {
	return f(ctx, found)
}

// again does something every so often until ctx is over.
func again(ctx context.Context, every time.Duration, do func()) {
	for ctx.Err() == nil {
		do()
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
}

// Whatever goes wrong with discovery, and for an hour: the servers are those that were found before, nobody is given them anew, and the log
// can be read. When it works again, what it finds counts.
func TestAnHourOfFailuresChangesNoServers(t *testing.T) {
	type takes = func([]Address, error)
	good := []Address{{Host: "10.0.0.1"}, {Host: "b.test", Port: 7, TLSName: "b.example"}}
	fails := func(list []Address, errs ...error) func(context.Context, takes, chan struct{}) error {
		return func(ctx context.Context, tell takes, _ chan struct{}) error {
			n := 0
			again(ctx, 5*time.Second, func() {
				tell(list, errs[n%len(errs)])
				n++
			})
			return nil
		}
	}
	for name, does := range map[string]func(ctx context.Context, tell takes, free chan struct{}) error{
		"NXDOMAIN":            fails(nil, &net.DNSError{Err: "no such host", Name: "nats.test", IsNotFound: true}),
		"SERVFAIL, timeouts":  fails(nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}, &net.DNSError{Err: "i/o timeout", IsTimeout: true}),
		"no file, no right":   fails(nil, &fs.PathError{Op: "open", Path: "servers", Err: fs.ErrNotExist}, &fs.PathError{Op: "open", Path: "servers", Err: fs.ErrPermission}),
		"HTTP":                fails(nil, errors.New("401 Unauthorized"), errors.New("403 Forbidden"), errors.New("429 Too Many Requests"), errors.New("500")),
		"nothing":             fails(nil, nil),
		"an empty list":       fails([]Address{}, nil),
		"half of it":          fails(good[1:], errors.New("the list lacks something")),
		"nothing that can be": fails([]Address{{}, {Host: "a b"}, {Host: "0.0.0.0"}, {Host: "c", Port: -1}, {Host: "c", Scheme: "http"}}, nil),
		"all by turns":        fails([]Address{}, nil, errors.New("one"), errors.New("two"), context.DeadlineExceeded),
		"a flood": func(ctx context.Context, tell takes, _ chan struct{}) error {
			again(ctx, 100*time.Millisecond, func() { tell(nil, errors.New("again")) })
			return nil
		},
		"silence": func(ctx context.Context, _ takes, _ chan struct{}) error {
			<-ctx.Done()
			return nil
		},
		"it heeds nobody": func(_ context.Context, _ takes, free chan struct{}) error {
			<-free
			return nil
		},
		"it ends":             func(context.Context, takes, chan struct{}) error { return nil },
		"it ends with errors": func(context.Context, takes, chan struct{}) error { return errors.New("over") },
		"it panics":           func(context.Context, takes, chan struct{}) error { panic("there is no map") },
		"it ends its goroutine": func(context.Context, takes, chan struct{}) error {
			runtime.Goexit()
			return nil
		},
		"it tells from a goroutine that stays": func(ctx context.Context, tell takes, free chan struct{}) error {
			go func() {
				for {
					select {
					case <-free:
						return
					case <-time.After(time.Minute):
						tell([]Address{{Host: "of-the-past"}}, nil)
					}
				}
			}()
			return errors.New("gone, and not gone")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, log := serversOf(t, "nats://u:p@a")
				var calls atomic.Int32
				var well atomic.Bool
				free := make(chan struct{})
				var mu sync.Mutex
				tell := func([]Address, error) {}
				s.strategy = strategyFunc(func(ctx context.Context, found func([]Address, error)) error {
					mu.Lock()
					tell = found
					mu.Unlock()
					if calls.Add(1) == 1 {
						found(good, nil)
					}
					if well.Load() {
						found([]Address{{Host: "new"}}, nil)
						<-ctx.Done()
						return nil
					}
					return does(ctx, func(list []Address, err error) {
						if !well.Load() {
							found(list, err)
						}
					}, free)
				})
				stop := s.begin()
				synctest.Wait()
				want := []string{"nats://u:p@a:4222", "nats://u:p@10.0.0.1:4222", "nats://u:p@b.test:7"}
				require.ElementsMatch(t, want, s.urls(false))
				names, next := s.names(""), s.next()
				for range 60 {
					time.Sleep(time.Minute)
					require.ElementsMatch(t, want, s.urls(true))
					require.Equal(t, names, s.names(""))
				}
				select {
				case <-next:
					t.Error("somebody was told of a change")
				default:
				}
				require.LessOrEqual(t, calls.Load(), int32(100), "it is left in peace for longer and longer, up to a minute")
				require.LessOrEqual(t, strings.Count(log.String(), "discovery failed"), 80, log.String())

				well.Store(true)
				mu.Lock()
				tell([]Address{{Host: "new"}}, nil) // for those that are still there
				mu.Unlock()
				time.Sleep(2 * time.Minute)
				if name != "it ends" { // which says that its list never changes
					require.ElementsMatch(t, []string{"nats://u:p@a:4222", "nats://u:p@new:4222"}, s.urls(false))
				}
				began := time.Now()
				stop()
				require.LessOrEqual(t, time.Since(began), time.Second)
				close(free)
			})
		})
	}
}
