package exclusive_test

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func TestWhatIsLeftWithoutContactIsGivenUpByTheGoodbye(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a, b := link.Bus(withTTL()), join(t, srv)
	term := campaign(t, a, "leader")
	link.Cut()
	eventually(t, "a knows it", func() bool { return !a.Connected() })
	ctx, cancel := context.WithTimeout(soon(t), 100*time.Millisecond)
	defer cancel()
	require.Error(t, a.Leave(ctx, "default"))
	require.ErrorIs(t, context.Cause(term.Context()), rolebus.ErrNotJoined)
	require.ErrorIs(t, term.Resign(soon(t)), rolebus.ErrNotJoined, "nobody can any more")
	link.Mend()
	require.Greater(t, campaign(t, b, "leader").Token(), term.Token())
}

func TestALeftScopeIsJoinedAgain(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv), join(t, srv)
	last := uint64(0)
	for range 3 {
		term := campaign(t, a, "leader")
		require.Greater(t, term.Token(), last)
		last = term.Token()
		waiting := make(chan error, 1)
		go func() {
			_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
			waiting <- err
		}()
		require.NoError(t, a.Leave(soon(t), "default"))
		require.ErrorIs(t, context.Cause(term.Context()), rolebus.ErrNotJoined)
		require.ErrorIs(t, <-waiting, rolebus.ErrNotJoined)
		require.NoError(t, term.Resign(soon(t)), "it was given up before the goodbye")
		_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
		require.ErrorIs(t, err, rolebus.ErrNotJoined)
		other := campaign(t, b, "leader")
		require.Greater(t, other.Token(), last)
		_, err = a.Join(soon(t), "default")
		require.NoError(t, err)
		require.NoError(t, other.Resign(soon(t)))
	}
}

func TestAfterTheBusIsClosed(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv), join(t, srv)
	term := campaign(t, a, "leader")
	waiting := make(chan error, 2)
	go func() {
		_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
		waiting <- err
	}()
	go func() {
		waiting <- exclusive.Run(soon(t), a.Scope, "leader", atOnce)
	}()
	go func() {
		for range exclusive.Watch(soon(t), a.Scope, "leader") {
			go a.Close()
		}
		waiting <- rolebus.ErrClosed
	}()
	for range 3 {
		require.ErrorIs(t, <-waiting, rolebus.ErrClosed)
	}
	require.NoError(t, a.Close())
	require.ErrorIs(t, context.Cause(term.Context()), rolebus.ErrClosed)
	require.ErrorIs(t, term.Resign(soon(t)), rolebus.ErrClosed)
	require.Zero(t, term.Left())
	_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
	require.ErrorIs(t, err, rolebus.ErrClosed)
	require.Greater(t, campaign(t, b, "leader").Token(), term.Token())
}

func TestWhoIsSupersededHasAClosedBus(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithNode("twin"))
	term := campaign(t, a, "leader")
	waiting := make(chan error, 2)
	go func() {
		_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
		waiting <- err
	}()
	go func() { waiting <- exclusive.Run(soon(t), a.Scope, "leader", atOnce) }()
	join(t, srv, rolebus.WithNode("twin"))
	<-a.Done()
	_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
	for _, err := range []error{<-waiting, <-waiting, err, term.Resign(soon(t))} {
		require.ErrorIs(t, err, rolebus.ErrClosed)
		require.ErrorIs(t, err, rolebus.ErrSuperseded)
	}
	require.ErrorIs(t, context.Cause(term.Context()), rolebus.ErrSuperseded)
}

// slowLog is a log that takes its time for the ends of terms.
type slowLog struct {
	slog.Handler
	ended atomic.Int32
}

func (l *slowLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *slowLog) Handle(_ context.Context, line slog.Record) error {
	if line.Message == "term is over" {
		time.Sleep(100 * time.Millisecond) // the slowness itself
		l.ended.Add(1)
	}
	return nil
}

func TestNothingIsLoggedAfterTheBusIsClosed(t *testing.T) {
	t.Parallel()
	log := &slowLog{Handler: slog.NewTextHandler(io.Discard, nil)}
	a := join(t, rolebustest.NewServer(t), rolebus.WithLogger(slog.New(log)))
	campaign(t, a, "one")
	campaign(t, a, "two")
	require.NoError(t, a.Close())
	require.EqualValues(t, 2, log.ended.Load())
}

func TestAShutdownPassesTermsOn(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv, rolebus.WithTTL(lasting)), join(t, srv, rolebus.WithTTL(lasting))
	free(t, a, "claim", "leader", "job")
	term := campaign(t, a, "leader")
	waiting := make(chan error, 1)
	go func() {
		_, err := exclusive.Campaign(soon(t), a.Scope, "leader")
		waiting <- err
	}()
	entered, finish := make(chan struct{}), make(chan struct{})
	ran := make(chan error, 1)
	go func() {
		ran <- exclusive.Run(soon(t), a.Scope, "job", func(ctx context.Context, _ uint64) error {
			close(entered)
			<-ctx.Done()
			<-finish
			return ctx.Err()
		})
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- a.Shutdown(soon(t)) }()
	require.NoError(t, campaign(t, b, "leader").Context().Err())
	require.Error(t, context.Cause(term.Context()))
	<-waiting
	held, is := exclusive.Holder(b.Scope, "job")
	require.True(t, is, "its function has not returned")
	require.Equal(t, a.Name(), held.Node)
	close(finish)
	require.Error(t, <-ran)
	require.NoError(t, <-ended)
	require.NoError(t, campaign(t, b, "job").Context().Err())
}

// A term that begins when the scope is being left already, and all others have been given up, has no function called: nobody would wait for it.
func TestATermThatComesTooLateHasNoFunctionCalled(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	b, observer := link.Bus(rolebus.WithTTL(lasting)), srv.Conn()
	free(t, b, "claim", "leader")
	require.NoError(t, campaign(t, b, "leader").Resign(soon(t)))
	claims := make(chan *nats.Msg, 10)
	_, err := observer.ChanSubscribe("rolebus.changes.default.claim.leader", claims)
	require.NoError(t, err)
	require.NoError(t, observer.Flush())
	ended := make(chan struct{})
	b.OnLeave(func(context.Context) { // beside the one of this package, which finds no term
		link.Mend()
		<-ended
	})

	link.Delay(50 * time.Millisecond)
	var called atomic.Int64
	go func() {
		defer close(ended)
		err = exclusive.Run(soon(t), b.Scope, "leader", func(context.Context, uint64) error {
			called.Add(1)
			return nil
		})
	}()
	<-claims         // it has been written, and that is not known there yet
	link.StallDown() // nor is it before terms are given up
	require.NoError(t, b.Shutdown(soon(t)))
	require.ErrorIs(t, err, rolebus.ErrNotJoined)
	require.Zero(t, called.Load())
}
