//go:build long

package embedded_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

func TestAllLeaveOneAfterAnother(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	for _, p := range town.form(t, 4) {
		require.NoError(t, p.Leave(t.Context()), p.State().Name)
		require.Equal(t, embedded.Closed, p.State().Part)
	}
	town.form(t, 3, embedded.WithPatience(10*time.Second)) // anew: they remember the cluster for so long
}

// As a whole deployment does that is told to end: what they store goes with the last one.
func TestAllLeaveAtOnce(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() {
			if err := p.Leave(ctx); err != nil {
				t.Errorf("%s: %v", p.State().Name, err)
			}
		})
	}
	wg.Wait()
	for _, p := range all {
		require.NoDirExists(t, filepath.Join(town.store(p.State().Name), "jetstream"))
	}
}

// The last member needs nobody's vote, and must not wait for others who are gone for good.
func TestTheLastMemberComesBackAlone(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	canary := sing(t, all[2])
	canary.more(t, 10)
	for _, p := range all[:2] {
		require.NoError(t, p.Leave(t.Context()))
	}
	canary.end(t)
	require.NoError(t, all[2].Close())
	p2 := town.begin(t, "p2")
	await(t, p2, "to lead", func(s embedded.ClusterState) bool { return s.Leader == "p2" })
	p0, p1 := town.begin(t, "p0"), town.begin(t, "p1")
	await(t, p2, "whole", whole(3))
	ready(t, p0)
	ready(t, p1)
	sing(t, p2).end(t)
}
