//go:build long

package embedded_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/internal/skew"
)

func TestClocksAnHourApartAreToldOnce(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	clock, err := skew.New(town.dir)
	require.NoError(t, err)
	clock.Step(time.Hour)
	awaitChild := town.bear(t, 0, clock.Env())
	one, two := town.begin(t, "p0"), town.begin(t, "p1")
	for _, p := range []*process{one, two} {
		ready(t, p)
		require.Len(t, p.lines("clocks of two processes are apart"), 1)
	}
	awaitChild("a member", isMember)
	canary := sing(t, one)
	canary.more(t, 50)
	clock.Step(-2 * time.Hour)
	canary.more(t, 50)
	awaitChild("a member", isMember)
	canary.end(t)
	for _, p := range []*process{one, two} {
		await(t, p, "whole", func(s embedded.ClusterState) bool { return whole(3)(s) })
		require.Len(t, p.lines("clocks of two processes are apart"), 1)
	}
}
