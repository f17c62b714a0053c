package rolebus

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// noContext is a slip, behind the back of the linters.
var noContext context.Context

func TestANilContextIsToldAsSuch(t *testing.T) {
	_, err := Connect(noContext, "nats://127.0.0.1:1")
	require.ErrorIs(t, err, errNilContext)
	_, err = New(noContext, nil)
	require.ErrorIs(t, err, errNilContext)
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBucket().bus(t, "a", WithRoles("x"))
		for closed := range 2 {
			_, err := b.Join(noContext, "s")
			require.ErrorIs(t, err, errNilContext)
			for _, err := range []error{
				b.Leave(noContext, "default"), b.AddRoles(noContext, "y"), b.RemoveRoles(noContext, "x"), b.SetRoles(noContext),
				b.In("s").AddRoles(noContext, "y"), b.ChangeRoles(noContext, nil, nil), b.WaitFor(noContext, "x", 1), b.Shutdown(noContext), b.SetMeta(noContext, nil),
				b.Probe(noContext, nil),
			} {
				require.ErrorIs(t, err, errNilContext)
			}
			_, err = b.Wait(noContext, func(*Snapshot) bool { return true })
			require.ErrorIs(t, err, errNilContext)
			_, err = b.AllScopes(noContext)
			require.ErrorIs(t, err, errNilContext)
			for _, call := range []func(){
				func() { b.Watch(noContext) }, func() { b.Snapshots(noContext) }, func() { b.While(noContext, nil) },
			} {
				require.PanicsWithValue(t, "rolebus: nil context", call)
			}
			if closed == 0 {
				require.NoError(t, b.Err())
				require.Len(t, b.MyRoles().Slice(), 1)
				require.NoError(t, b.Close())
			}
		}
		for _, call := range []func(){
			func() { b.OnShutdown(nil) }, func() { b.OnLeave(nil) }, func() { _ = b.Go(nil) },
			func() { _, _ = b.Subscribe("x", nil) }, func() { _, _ = b.Listen("call", "m", nil) },
		} {
			require.PanicsWithValue(t, "rolebus: nil function", call)
		}
	})
}

func ignore(*nats.Msg) {}

func TestWhatNobodyMadeSaysSo(t *testing.T) {
	ctx := t.Context()
	var zero Bus
	var none *Bus
	for _, b := range []*Bus{&zero, none} {
		_, err := b.Join(ctx, "s")
		require.ErrorIs(t, err, errNotMade)
		_, err = b.AllScopes(ctx)
		require.ErrorIs(t, err, errNotMade)
		_, err = b.Subscribe("x", ignore)
		require.ErrorIs(t, err, errNotMade)
		for _, err := range []error{
			b.SetMeta(ctx, nil), b.Leave(ctx, "s"), b.Close(), b.Shutdown(ctx), b.Err(), b.Check(), b.Go(func(context.Context) {}),
		} {
			require.ErrorIs(t, err, errNotMade)
		}
		for _, call := range []func(){
			func() { b.Name() }, func() { b.IsLocal("a") }, func() { b.In("s") }, func() { b.Scopes() }, func() { b.Done() }, func() { b.Conn() },
			func() { b.OnShutdown(func(context.Context) {}) }, func() { b.Bucket() }, func() { b.Logger() }, func() { b.Context() },
		} {
			require.PanicsWithValue(t, notMade, call)
		}
	}
	for _, s := range []*Scope{zero.Scope, new(Scope)} {
		_, waited := s.Wait(ctx, func(*Snapshot) bool { return true })
		require.ErrorIs(t, s.Err(), errNotMade)
		_, err := s.Listen("call", "m", ignore)
		require.ErrorIs(t, err, errNotMade)
		for _, err := range []error{
			s.AddRoles(ctx, "x"), s.RemoveRoles(ctx, "x"), s.SetRoles(ctx, "x"), s.ChangeRoles(ctx, nil, nil), s.WaitFor(ctx, "x", 1), waited, s.Probe(ctx, nil),
		} {
			require.ErrorIs(t, err, errNotMade)
			require.ErrorContains(t, err, prefix)
		}
		for _, call := range []func(){
			func() { _ = s.Name() }, func() { s.Snapshot() }, func() { s.Nodes("x") }, func() { s.AllNodes() }, func() { s.Roles("a") },
			func() { s.MyRoles() }, func() { s.Generation() }, func() { s.LeaseLeft() }, func() { s.LeaseContext() }, func() { s.Watch(ctx) },
			func() { s.Snapshots(ctx) }, func() { s.While(ctx, nil) }, func() { s.Bus() },
			func() { s.Keep(1, func() any { return nil }) }, func() { s.Address("call", nil, "m") }, func() { s.OnLeave(func(context.Context) {}) },
		} {
			require.PanicsWithValue(t, notMade, call)
		}
	}
	require.ErrorIs(t, zero.AddRoles(ctx, "x"), errNotMade)
}
