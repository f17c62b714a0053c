package rolebus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Rounds come so seldom here that nobody is asked by them.
const seldom = time.Hour

func TestAProbeThatFindsNobodyHasTheNodeLeftOut(t *testing.T) {
	for name, tc := range map[string]struct {
		opts []Option
		met  bool // it was probed before, so that it is known at which server it is
		out  bool
	}{
		"a member":                    {opts: []Option{WithProbeInterval(seldom)}, met: true, out: true},
		"an observer":                 {opts: []Option{WithProbeInterval(seldom), WithObserver()}, met: true, out: true},
		"at a server that nobody saw": {opts: []Option{WithProbeInterval(seldom)}},
		"nobody is to be suspected":   {opts: []Option{WithProbeInterval(0)}, met: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, n := newFakeBucket(), newFakeNet()
				b := f.peered(t, n, "s1", "b", WithProbeInterval(0))
				f.peered(t, n, "s1", "witness", WithProbeInterval(0))
				synctest.Wait()
				a := f.peered(t, n, "s2", nameBefore(b.Snapshot(), "witness"), tc.opts...) // which asks its successor by itself
				time.Sleep(time.Minute)                                                    // the bus has been calm
				there := a.Snapshot().Node("b")
				if tc.met {
					require.NoError(t, a.Probe(t.Context(), there))
				}
				b.set(func(p *fakePeers) { p.at = "" }) // its lease runs on
				err := a.Probe(t.Context(), there)
				require.ErrorIs(t, err, ErrNodeGone)
				require.ErrorIs(t, err, errAbsent)
				time.Sleep(checkAfter * 10)
				synctest.Wait()
				require.Equal(t, tc.out, a.Snapshot().Node("b") == nil)
				require.Equal(t, tc.out, a.Snapshot().Suspects().Len() == 1)
				b.set(func(p *fakePeers) { p.at = "s1" })
				require.NoError(t, a.Probe(t.Context(), there))
				synctest.Wait()
				require.NotNil(t, a.Snapshot().Node("b"), "it answers, and is listed")
			})
		})
	}
}

func TestAProbeThatIsAnsweredEndsThatANodeIsDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		f.peered(t, n, "s1", "b", WithProbeInterval(0))
		a := f.peered(t, n, "s1", "a", WithProbeInterval(seldom))
		f.peered(t, n, "s1", "c", WithProbeInterval(0))
		time.Sleep(time.Minute)
		there, m := a.Snapshot().Node("b"), a.member.Load()
		m.judge(t.Context(), verdict{node: "b", incarnation: there.Incarnation(), began: a.Snapshot().serial})
		synctest.Wait()
		require.Nil(t, a.Snapshot().Node("b"))
		time.Sleep(3 * fakeTTL)
		require.True(t, a.Snapshot().Node("b").deaf, "it outlived the suspicion, and nobody asked it")
		require.NoError(t, a.Probe(t.Context(), there))
		synctest.Wait()
		require.False(t, a.Snapshot().Node("b").deaf)
	})
}

func TestAProbeThatIsNotAnsweredSaysNothingOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		b := f.peered(t, n, "s1", "b", WithProbeInterval(0))
		f.peered(t, n, "s1", "witness", WithProbeInterval(0))
		a := f.peered(t, n, "s2", "a", WithProbeInterval(seldom))
		time.Sleep(time.Minute)
		there := a.Snapshot().Node("b")
		require.NoError(t, a.Probe(t.Context(), there))
		b.set(func(p *fakePeers) { p.hung = true })
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errOwnCause)
		defer cancel()
		began := time.Now()
		err := a.Probe(ctx, there)
		require.Equal(t, 3*time.Second, time.Since(began))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errOwnCause)
		require.NotErrorIs(t, err, ErrNodeGone)
		synctest.Wait()
		require.NotNil(t, a.Snapshot().Node("b"))
	})
}
