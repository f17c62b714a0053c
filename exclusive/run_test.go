package exclusive_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// told is a hook that keeps what it hears.
type told struct{ began, ended, outlived chan exclusive.TermInfo }

func newTold() *told {
	return &told{make(chan exclusive.TermInfo, 100), make(chan exclusive.TermInfo, 100), make(chan exclusive.TermInfo, 100)}
}

func (h *told) OnBegan(i exclusive.TermInfo)    { h.began <- i }
func (h *told) OnEnded(i exclusive.TermInfo)    { h.ended <- i }
func (h *told) OnOutlived(i exclusive.TermInfo) { h.outlived <- i }

type valueKey struct{}

func TestHowRunEnds(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv), join(t, srv)
	free := func(what string) {
		t.Helper()
		require.NoError(t, campaign(t, b, "job").Resign(soon(t)), what)
	}
	wrong := errors.New("wrong")
	hook := newTold()
	err := exclusive.Run(soon(t), a.Scope, "job", func(context.Context, uint64) error { return wrong }, exclusive.WithHooks(hook))
	require.ErrorIs(t, err, wrong)
	began, ended := <-hook.began, <-hook.ended
	require.Equal(t, "job", began.Name)
	require.Equal(t, began.Token, ended.Token)
	require.ErrorIs(t, ended.Err, exclusive.ErrResigned)
	free("after an error")

	require.PanicsWithValue(t, "boom", func() {
		_ = exclusive.Run(soon(t), a.Scope, "job", func(context.Context, uint64) error { panic("boom") })
	})
	free("after a panic")

	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = exclusive.Run(soon(t), a.Scope, "job", func(context.Context, uint64) error { runtime.Goexit(); return nil })
	}()
	<-gone
	free("after Goexit")

	calls, last := 0, uint64(0)
	ctx, cancel := context.WithCancelCause(context.WithValue(soon(t), valueKey{}, "value"))
	err = exclusive.Run(ctx, a.Scope, "job", func(within context.Context, token uint64) error {
		require.Equal(t, "value", within.Value(valueKey{}))
		due, is := ctx.Deadline()
		got, has := within.Deadline()
		require.Equal(t, is, has)
		require.Equal(t, due, got)
		require.Greater(t, token, last)
		last = token
		if calls++; calls < 3 {
			return nil
		}
		cancel(wrong)
		<-within.Done()
		require.ErrorIs(t, context.Cause(within), wrong)
		_, is = exclusive.Holder(a.Scope, "job")
		require.True(t, is, "until the function has returned")
		return errors.New("which nobody hears")
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, wrong)
	require.Equal(t, 3, calls)
	free("when ctx is over")
	require.ErrorIs(t, exclusive.Run(ctx, a.Scope, "job", atOnce), wrong, "over before")
}

func TestAFunctionThatOutlivesItsTermIsTold(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a, b := link.Bus(withTTL()), join(t, srv)
	hook, finish := newTold(), make(chan struct{})
	ctx, cancel := context.WithCancel(soon(t))
	ran := make(chan error, 1)
	var first atomic.Bool
	go func() {
		ran <- exclusive.Run(ctx, a.Scope, "job", func(within context.Context, _ uint64) error {
			if first.CompareAndSwap(false, true) {
				<-finish
			}
			<-within.Done()
			return nil
		}, exclusive.WithHooks(hook))
	}()
	began := <-hook.began
	link.Cut()
	require.ErrorIs(t, (<-hook.ended).Err, rolebus.ErrLeaseLost)
	late := <-hook.outlived
	require.Equal(t, began.Token, late.Token)
	require.False(t, late.Over)
	require.ErrorIs(t, late.Err, rolebus.ErrLeaseLost)
	second := campaign(t, b, "job")
	require.Greater(t, second.Token(), began.Token)
	close(finish)
	over := <-hook.outlived
	require.True(t, over.Over)
	require.Equal(t, began.Token, over.Token)
	link.Mend()
	require.NoError(t, second.Resign(soon(t)))
	require.Greater(t, (<-hook.began).Token, second.Token())
	cancel()
	require.ErrorIs(t, <-ran, context.Canceled)
	require.Empty(t, hook.outlived, "once each")
}

// A function that takes its time after its term is over, while the name is kept for it, keeps nobody from anything.
func TestAFunctionForWhichTheNameIsKeptOutlivesNothing(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv, rolebus.WithRoles("worker")), join(t, srv)
	hook, finish := newTold(), make(chan struct{})
	ctx, cancel := context.WithCancel(soon(t))
	ran := make(chan error, 1)
	go func() {
		ran <- exclusive.Run(ctx, a.Scope, "job", func(within context.Context, _ uint64) error {
			<-within.Done()
			<-finish
			return nil
		}, exclusive.WithHooks(hook), exclusive.Among("worker"))
	}()
	began := <-hook.began
	require.NoError(t, a.RemoveRoles(soon(t), "worker"))
	require.ErrorIs(t, (<-hook.ended).Err, exclusive.ErrNotCandidate)
	select {
	case <-hook.outlived:
		t.Fatal("nobody else can have it")
	case <-time.After(ttl / 2): // for longer than a function may take of which nobody is told
	}
	held, is := exclusive.Holder(b.Scope, "job")
	require.True(t, is)
	require.Equal(t, began.Token, held.Token)
	close(finish)
	require.Greater(t, campaign(t, b, "job").Token(), began.Token)
	cancel()
	require.ErrorIs(t, <-ran, context.Canceled)
	require.Empty(t, hook.outlived)
}

func TestResigningFromEverywhere(t *testing.T) {
	t.Parallel()
	a := join(t, rolebustest.NewServer(t))
	resigned := make(chan error, 10)
	term := campaign(t, a, "within its own end")
	context.AfterFunc(term.Context(), func() { resigned <- term.Resign(soon(t)) })
	for range 4 {
		go func() { resigned <- term.Resign(soon(t)) }()
	}
	for range 5 {
		require.NoError(t, <-resigned)
	}
	hook := &resigner{resigned: resigned}
	hook.term.Store(campaign(t, a, "from a hook", exclusive.WithHooks(hook)))
	require.NoError(t, hook.term.Load().Resign(soon(t)))
	require.NoError(t, <-resigned)
	a.OnLeave(func(ctx context.Context) {
		_, err := exclusive.Campaign(ctx, a.Scope, "while it leaves")
		resigned <- err
	})
	require.NoError(t, a.Leave(soon(t), "default"))
	if err := <-resigned; err != nil {
		require.ErrorIs(t, err, rolebus.ErrNotJoined)
	}
	_, is := exclusive.Holder(a.Scope, "while it leaves")
	require.False(t, is)
}

type resigner struct {
	term     atomic.Pointer[exclusive.Term]
	resigned chan error
}

func (h *resigner) OnEnded(exclusive.TermInfo) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h.resigned <- h.term.Load().Resign(ctx)
}
