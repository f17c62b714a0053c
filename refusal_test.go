package rolebus

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// What a server says of a message that it does not store.
var (
	errFakeTooLarge = fmt.Errorf("write: %w: %w", ErrTooLarge,
		&jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamMessageExceedsMaximum, Description: "message size exceeds maximum allowed"})
	errFakeForbidden = fmt.Errorf("write: %w: %w", nats.ErrPermissionViolation, context.DeadlineExceeded)
	errFakeFull      = fmt.Errorf("write: %w", &jetstream.APIError{Code: 500, ErrorCode: 10047, Description: "insufficient storage resources available"})
)

// refusingStore does not take some of what a process writes.
type refusingStore struct {
	store
	mu             sync.Mutex
	noPuts, noArms error
	most           int // roles that a record may have; 0 for any number
}

func (s *refusingStore) refuse(puts, arms error, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noPuts, s.noArms, s.most = puts, arms, most
}

func (s *refusingStore) put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error) {
	s.mu.Lock()
	err := s.noPuts
	if err == nil && s.most > 0 && len(c.roles)+len(c.meta) > s.most {
		err = errFakeTooLarge
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return s.store.put(ctx, scope, c, replaces)
}

func (s *refusingStore) arm(ctx context.Context, scope string, c change, record uint64) error {
	s.mu.Lock()
	err := s.noArms
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.store.arm(ctx, scope, c, record)
}

// refusing makes a bus that the server may refuse something.
func (f *fakeBucket) refusing(t *testing.T, node string, opts ...Option) (*fakeBus, *refusingStore) {
	t.Helper()
	o, err := newOptions(append([]Option{WithNode(node), WithTTL(fakeTTL)}, opts...))
	require.NoError(t, err)
	link := f.link()
	st := &refusingStore{store: link}
	b := &fakeBus{Bus: newBus(o, newNoise(o.log), st), link: link}
	link.identity = b.fleet
	link.look()
	require.NoError(t, b.open(t.Context(), false))
	t.Cleanup(func() { _ = b.Close() })
	return b, st
}

// One refused write of one's own is no outage: heartbeats go on, and deaths are believed.
func TestARefusedChangeIsNoOutage(t *testing.T) {
	for name, refusal := range map[string]error{"forbidden": errFakeForbidden, "full": errFakeFull, "no answer at all": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, st := f.refusing(t, "a", WithRoles("x"))
				b, dead := f.bus(t, "b"), f.bus(t, "dead")
				time.Sleep(3 * fakeTTL)
				lease := a.LeaseContext()
				st.refuse(refusal, nil, 0)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := a.AddRoles(ctx, "y")
				require.ErrorIs(t, err, ErrNotConfirmed)
				require.ErrorIs(t, err, refusal, "why is told")
				time.Sleep(2 * fakeTTL)
				require.NoError(t, context.Cause(lease))
				require.Zero(t, a.Snapshot().Stale())
				dead.crash()
				time.Sleep(fakeTTL + 500*time.Millisecond)
				synctest.Wait()
				require.False(t, lists(a, "dead"), "its death is believed")
				require.Equal(t, []Role{"x"}, b.Roles("a").Slice())
				st.refuse(nil, nil, 0)
				time.Sleep(fakeTTL / 3)
				synctest.Wait()
				require.Equal(t, []Role{"x", "y"}, b.Roles("a").Slice(), "it was still wanted")
				require.NoError(t, context.Cause(lease))
			})
		})
	}
}

// Who may not heartbeat any more is buried, and knows it; of the others it believes what an observer believes.
func TestARefusedHeartbeatIsNoOutage(t *testing.T) {
	for name, refusal := range map[string]error{"forbidden": errFakeForbidden, "too large": errFakeTooLarge} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, st := f.refusing(t, "a", WithRoles("x"))
				b, dead := f.bus(t, "b"), f.bus(t, "dead")
				f.bus(t, "c")
				time.Sleep(3 * fakeTTL)
				lease := a.LeaseContext()
				st.refuse(refusal, refusal, 0)
				time.Sleep(2 * fakeTTL)
				require.ErrorIs(t, context.Cause(lease), ErrLeaseLost)
				require.False(t, lists(b, "a"))
				require.Zero(t, a.Snapshot().Stale(), "there is contact")
				time.Sleep(2 * fakeTTL)
				dead.crash()
				time.Sleep(fakeTTL + 500*time.Millisecond)
				synctest.Wait()
				require.False(t, lists(a, "dead"), "its death is believed")
				st.refuse(nil, nil, 0)
				time.Sleep(2 * time.Second)
				require.NoError(t, a.LeaseContext().Err())
				require.True(t, lists(b, "a"))
			})
		})
	}
}

// A storage that is full takes nobody's heartbeats. When it takes them again, whom it buries meanwhile is not believed to be dead.
func TestAFullStorageIsEverybodysTrouble(t *testing.T) {
	for phase := range 10 {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			fleet := []*fakeBus{f.bus(t, "a"), f.bus(t, "b"), f.bus(t, "c"), f.bus(t, "o", WithObserver())}
			var logs []*eventLog
			for _, b := range fleet {
				logs = append(logs, watchLog(t.Context(), b.Scope))
			}
			time.Sleep(3*fakeTTL + time.Duration(phase)*fakeTTL/30)
			for _, log := range logs {
				log.take()
			}
			for _, b := range fleet {
				b.link.refuse(errFakeFull)
			}
			f.mu.Lock()
			f.stuck = true // nor does the server store its own
			first := time.Now().Add(fakeTTL)
			for _, l := range f.leases {
				if l.c.due.Before(first) {
					first = l.c.due
				}
			}
			f.mu.Unlock()
			time.Sleep(time.Until(first) + 100*time.Millisecond)
			for _, b := range fleet[1:] {
				b.link.refuse(nil)
			}
			f.start()
			time.Sleep(time.Second)
			fleet[0].link.refuse(nil) // a little later
			time.Sleep(3 * fakeTTL)
			for i, log := range logs {
				require.Empty(t, log.take(), fleet[i].Name())
			}
		})
	}
}

// A limit that was lowered after the check: the change is taken back, and nothing else stands still.
func TestTooLargeIsNeverNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, st := f.refusing(t, "a", WithRoles("x"), WithScopes("s"), WithMeta(map[string]string{"v": "1"}))
		b := f.bus(t, "b", WithScopes("s"))
		require.NoError(t, a.In("s").AddRoles(t.Context(), "1", "2", "3"))
		errs := make(chan error, 3)
		a.link.setCut(true)
		for i := range 3 { // that wait for the same write
			go func() { errs <- a.AddRoles(t.Context(), Role(fmt.Sprint("y", 2*i)), Role(fmt.Sprint("y", 2*i+1))) }()
		}
		time.Sleep(time.Second)
		st.refuse(nil, nil, 5)
		a.link.setCut(false)
		for range 3 {
			err := <-errs
			require.ErrorIs(t, err, ErrTooLarge)
			require.NotErrorIs(t, err, ErrNotConfirmed)
			require.Equal(t, 1, strings.Count(err.Error(), prefix))
		}
		require.Equal(t, []Role{"x"}, a.MyRoles().Slice())
		require.NoError(t, a.AddRoles(t.Context(), "y"), "nothing of it is wanted any more")
		synctest.Wait()
		require.Equal(t, []Role{"x", "y"}, b.Roles("a").Slice())

		err := a.SetMeta(t.Context(), map[string]string{"v": "2", "w": "2", "u": "2"}) // too large in one scope only
		require.ErrorIs(t, err, ErrTooLarge)
		require.NotErrorIs(t, err, ErrNotConfirmed)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, s := range []*Scope{a.Scope, a.In("s"), b.Scope, b.In("s")} {
			require.Equal(t, map[string]string{"v": "1"}, s.Snapshot().Node("a").meta, "in no scope")
		}
		_, err = a.Join(t.Context(), "later")
		require.NoError(t, err)
		require.Equal(t, map[string]string{"v": "1"}, a.In("later").Snapshot().Node("a").meta)

		st.refuse(nil, nil, 1) // less than what stands
		lease := a.LeaseContext()
		require.ErrorIs(t, a.AddRoles(t.Context(), "z"), ErrTooLarge)
		require.ErrorIs(t, a.RemoveRoles(t.Context(), "y"), ErrTooLarge, "still too large")
		time.Sleep(3 * fakeTTL)
		require.NoError(t, context.Cause(lease))
		require.Equal(t, []Role{"x", "y"}, b.Roles("a").Slice())
		require.Empty(t, a.member.Load().keeper.want.wishes)
	})
}
