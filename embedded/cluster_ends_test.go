package embedded_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/embedded"
)

// How a process's part begins to be ready, and how it ends.

func TestReadyBeforeAnybodyIsThere(t *testing.T) {
	t.Parallel()
	p := newTown(t).begin(t, "p0")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := p.Ready(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	await(t, p, "to wait", func(s embedded.ClusterState) bool { return s.Waiting == "2 more of 3 processes" })
	why := errors.New("why")
	ended, end := context.WithCancelCause(t.Context())
	end(why)
	err = p.Ready(ended)
	require.ErrorIs(t, err, why)
	require.ErrorContains(t, err, "not ready: 2 more of 3 processes")
	_, err = p.Connect(ended)
	require.ErrorIs(t, err, why)
	require.Empty(t, p.URL())

	waits := make(chan error)
	go func() { waits <- p.Ready(t.Context()) }()
	require.NoError(t, p.Close())
	require.ErrorIs(t, <-waits, embedded.ErrClosed)
	require.ErrorIs(t, p.Ready(t.Context()), embedded.ErrClosed)
	_, err = p.Connect(t.Context())
	require.ErrorIs(t, err, embedded.ErrClosed)
	require.Equal(t, embedded.Closed, p.State().Part)
}

func TestContextOfClusterEndsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	town := newTown(t)
	c, err := embedded.Cluster(ctx, town.strategy(), embedded.WithSize(3), embedded.WithName("p0"))
	require.NoError(t, err)
	defer c.Close()
	cancel()
	town.begin(t, "p1")
	town.begin(t, "p2")
	require.NoError(t, c.Ready(t.Context()))
}

func TestCloseWheneverTwiceAndAtOnce(t *testing.T) {
	t.Parallel()
	for _, part := range []embedded.Part{embedded.Forming, embedded.Member, embedded.Spare} {
		t.Run(string(part), func(t *testing.T) {
			t.Parallel()
			town, n := newTown(t), 3
			if part == embedded.Spare {
				n = 4
			}
			ports := freePorts(t, 3)
			opts := []embedded.Option{embedded.WithClusterPort(ports[0]), embedded.WithRoutePort(ports[1]), embedded.WithPort(ports[2])}
			last := "p" + string(rune('0'+n-1))
			for i := range n - 1 {
				town.begin(t, "p"+string(rune('0'+i)))
			}
			p := town.begin(t, last, opts...)
			await(t, p, string(part), func(s embedded.ClusterState) bool { return s.Part == part })
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := p.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.NoError(t, p.Close())
			require.NoError(t, p.Leave(t.Context()), "it is closed already")
			again := town.begin(t, last, opts...)
			ready(t, again)
		})
	}
}

func TestLeaveOfASpareAndOfAMember(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 5)
	canary := sing(t, all[1])
	require.NoError(t, all[4].Leave(t.Context())) // a spare
	require.NoError(t, all[0].Leave(t.Context())) // a member, for whom a spare comes
	require.Equal(t, embedded.Closed, all[0].State().Part)
	require.NoDirExists(t, filepath.Join(town.store("p0"), "jetstream"), "it is empty")
	await(t, all[3], "a member", isMember)
	for _, p := range all[1:4] {
		await(t, p, "whole", whole(3))
	}
	require.NoError(t, all[0].Leave(t.Context()), "twice")
	canary.end(t)
	back := town.begin(t, "p0")
	await(t, back, "a spare", isSpare)
}

func TestLeaveWithAContextThatEnds(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[0])
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := all[2].Leave(ctx) // for which there is no spare
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "still a member")
	require.Equal(t, err, all[2].Leave(t.Context()), "it has not left since")
	require.NoError(t, all[2].Close())
	back := town.begin(t, "p2")
	await(t, back, "a member again", isMember)
	canary.end(t)
}

func TestNothingIsLeft(t *testing.T) {
	root := tempRoot(t)
	town := newTown(t)
	var all []*process
	for range 4 {
		all = append(all, begin(t, town.strategy()))
	}
	for _, p := range all {
		ready(t, p)
	}
	require.Equal(t, 4, stores(t, root))
	closeAll(all...)
	require.Zero(t, stores(t, root))
	goleak.VerifyNone(t)
}

// stores counts the temporary store directories.
func stores(t *testing.T, root string) (n int) {
	t.Helper()
	for _, e := range entries(t, root) {
		if _, err := os.Stat(filepath.Join(root, e.Name(), "rolebus.lock")); err == nil {
			n++
		}
	}
	return n
}

// The bus of a member is on another member's server: one that died with the process could tell nobody.
func TestBusOfAMemberIsOnAnothersServer(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	for _, p := range town.form(t, 4) {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		bus, err := p.Connect(ctx)
		require.NoError(t, err)
		require.NotEqual(t, p.State().Name, bus.Conn().ConnectedServerName())
		require.NoError(t, bus.Close())
	}
}
