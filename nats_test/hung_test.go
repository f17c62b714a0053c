package nats_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// silence is a dialer that can be made to reach a server that takes connections and says nothing. nats.go holds its lock
// while it waits for such a one, and whatever asks it anything waits for that.
type silence struct {
	mu     sync.Mutex
	conns  []net.Conn
	silent string        // the address of the server that says nothing; "" for the real one
	dialed chan struct{} // closed when that was dialled
}

func (s *silence) Dial(network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent != "" {
		address = s.silent
	}
	conn, err := net.Dial(network, address)
	if err == nil {
		s.conns = append(s.conns, conn)
		if s.silent != "" && s.dialed != nil {
			close(s.dialed)
			s.dialed = nil
		}
	}
	return conn, err
}

// turn breaks all connections; the next go to another address, "" for the real one.
func (s *silence) turn(silent string) (dialed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent, s.dialed = silent, make(chan struct{})
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
	return s.dialed
}

func (s *silence) options() []nats.Option {
	return []nats.Option{
		nats.SetCustomDialer(s), nats.Timeout(time.Hour), nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0),
	}
}

// Whoever changes or awaits something with a context returns when that is over, whatever holds nats.go up.
func TestChangesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	hole := says(t, "")
	never := func(*rolebus.Snapshot) bool { return false }
	for name, call := range map[string]func(context.Context, *rolebus.Bus) error{
		"add roles":                  func(ctx context.Context, b *rolebus.Bus) error { return b.AddRoles(ctx, "new") },
		"add roles in another scope": func(ctx context.Context, b *rolebus.Bus) error { return b.In("new").AddRoles(ctx, "new") },
		"remove roles":               func(ctx context.Context, b *rolebus.Bus) error { return b.RemoveRoles(ctx, "x") },
		"set roles":                  func(ctx context.Context, b *rolebus.Bus) error { return b.SetRoles(ctx, "new") },
		"set roles in another scope": func(ctx context.Context, b *rolebus.Bus) error { return b.In("new").SetRoles(ctx, "new") },
		"change roles": func(ctx context.Context, b *rolebus.Bus) error {
			return b.ChangeRoles(ctx, []rolebus.Role{"new"}, []rolebus.Role{"x"})
		},
		"set metadata":   func(ctx context.Context, b *rolebus.Bus) error { return b.SetMeta(ctx, map[string]string{"a": "b"}) },
		"join":           func(ctx context.Context, b *rolebus.Bus) error { _, err := b.Join(ctx, "new"); return err },
		"wait":           func(ctx context.Context, b *rolebus.Bus) error { _, err := b.Wait(ctx, never); return err },
		"wait for roles": func(ctx context.Context, b *rolebus.Bus) error { return b.WaitFor(ctx, "nobody", 1) },
		"provision":      func(ctx context.Context, b *rolebus.Bus) error { return rolebus.Provision(ctx, b.Conn()) },
		"plan": func(ctx context.Context, b *rolebus.Bus) error {
			_, err := rolebus.PlanProvision(ctx, b.Conn())
			return err
		},
		"a new bus on the connection": func(ctx context.Context, b *rolebus.Bus) error { _, err := rolebus.New(ctx, b.Conn()); return err },
		"a watch": func(ctx context.Context, b *rolebus.Bus) error {
			for range b.Watch(ctx) { //nolint:revive // until it ends
			}
			return ctx.Err()
		},
		"the snapshots": func(ctx context.Context, b *rolebus.Bus) error {
			for range b.Snapshots(ctx) { //nolint:revive // until it ends
			}
			return ctx.Err()
		},
		"what asks nobody": func(ctx context.Context, b *rolebus.Bus) error {
			_, _, _, _ = b.Check(), b.LeaseLeft(), b.Scopes(), b.Snapshot().Stale()
			_, _ = b.Err(), b.LeaseContext()
			return context.DeadlineExceeded
		},
	} {
		for kind, open := range map[string]func(*testing.T, *silence) *rolebus.Bus{
			"a connection of its own": func(t *testing.T, s *silence) *rolebus.Bus {
				return connect(t, srv.URL(), rolebus.WithRoles("x"), rolebus.WithScopes("s"), rolebus.WithNATS(s.options()...))
			},
			"a borrowed one": func(t *testing.T, s *silence) *rolebus.Bus {
				b, err := rolebus.New(t.Context(), srv.Conn(s.options()...), rolebus.WithTTL(ttl), rolebus.WithRoles("x"), rolebus.WithScopes("s"))
				require.NoError(t, err)
				t.Cleanup(func() { _ = b.Close() })
				return b
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				s := &silence{}
				b := open(t, s)
				t.Cleanup(func() { s.turn("") })
				<-s.turn(hole)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- call(ctx, b) }()
				select {
				case err := <-done:
					over := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
					require.True(t, over || errors.Is(err, nats.ErrDisconnected), err) // who reads does not wait for a connection
				case <-time.After(30 * time.Second):
					t.Error("it does not come back")
				}
				s.turn("")
				// It is as if nothing had been, once the server answers.
				if b.Err() == nil {
					again, end := context.WithTimeout(t.Context(), time.Minute)
					defer end()
					require.NoError(t, b.AddRoles(again, "afterwards"))
				}
				_ = b.Close()
			})
		}
	}
}
