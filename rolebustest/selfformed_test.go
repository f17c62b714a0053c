package rolebustest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestProcessesForm(t *testing.T) {
	t.Parallel()
	var f *rolebustest.SelfFormed
	logged(t, "formed", func() { f = rolebustest.NewSelfFormed(t, 3, 4) })
	var names, members []string
	for _, p := range f.Processes() {
		names = append(names, p.Name())
		require.True(t, p.Running())
		s := p.Cluster().State()
		require.True(t, s.Ready)
		require.Len(t, s.Members, 3)
		require.Len(t, s.Spares, 1)
		if s.Part == embedded.Member {
			members = append(members, p.Name())
		}
		bus := p.Bus(rolebus.WithRoles("api"))
		require.Equal(t, p.Name(), bus.Name())
	}
	require.Equal(t, []string{"process-1", "process-2", "process-3", "process-4"}, names)
	require.Equal(t, names[:3], members)
	require.Contains(t, members, f.Leader().Name())
	rolebustest.WaitNodes(t, f.Bus(), "api", 4)
	require.Equal(t, "process-1-2", f.Processes()[0].Bus().Name())
	require.Contains(t, members, f.LeaderOf(bucketStream).Name())
	info := streamInfo(t, f.Conn())
	require.Equal(t, 3, info.Config.Replicas)
	require.Equal(t, nats.CONNECTED, f.Processes()[3].Conn().Status())
}

func TestSelfFormedFailuresSayWhy(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]func(*standIn){
		"rolebustest: 2 processes: a cluster of 3 needs at least as many":  func(t *standIn) { rolebustest.NewSelfFormed(t, 3, 2) },
		"rolebustest: process-1: embedded cluster: size 4: must be 3 or 5": func(t *standIn) { rolebustest.NewSelfFormed(t, 4, 4) },
		"rolebustest: process-1: embedded cluster: grace 1s: must be": func(t *standIn) {
			rolebustest.NewSelfFormed(t, 3, 3, embedded.WithGrace(time.Second))
		},
		"rolebustest: a bus of process-1: it does not run": func(t *standIn) {
			p := rolebustest.NewSelfFormed(t, 3, 3).Processes()[0]
			p.Kill()
			p.Kill()
			p.Stop()
			p.Leave()
			p.Bus()
		},
	} {
		require.Contains(t, failure(f), want)
	}
}
