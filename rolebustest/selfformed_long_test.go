//go:build long

package rolebustest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/rolebustest"
)

// soon is the shortest grace.
const soon = 2 * time.Second

func TestSpareReplacesTheLeader(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 4, embedded.WithGrace(soon))
	watcher := f.Bus()
	roleOfEach(t, f)
	rolebustest.WaitNodes(t, watcher, "api", 4)
	leader := f.Leader()
	was := leader.Cluster().State().Cluster
	leader.Kill()
	require.False(t, leader.Running())
	require.Equal(t, embedded.Closed, leader.Cluster().State().Part)
	logged(t, "replaced", f.WaitReady)
	require.NotSame(t, leader, f.Leader())
	gone(t, watcher, leader)
	rolebustest.WaitNodes(t, watcher, "api", 3)
	for _, p := range f.Processes() {
		if p == leader {
			continue
		}
		s := p.Cluster().State()
		require.Equal(t, embedded.Member, s.Part)
		require.Equal(t, was, s.Cluster)
		require.False(t, has(s.Members, leader.Name()))
	}

	leader.Start() // with its store, and too late
	logged(t, "a spare", f.WaitReady)
	require.Equal(t, embedded.Spare, leader.Cluster().State().Part)
	leader.Bus(rolebus.WithRoles("api"))
	rolebustest.WaitNodes(t, watcher, "api", 4)
}

// gone waits until a process has no role any more. That of a leader which dies takes an election, and then as long as its lease.
func gone(t *testing.T, watcher *rolebus.Bus, p *rolebustest.Process) {
	t.Helper()
	logged(t, p.Name()+" has no role", func() {
		rolebustest.Within(t, time.Minute, p.Name()+" to have no role any more", func() bool { return watcher.Roles(p.Name()).Len() == 0 })
	})
}

func has(processes []embedded.Process, name string) bool {
	return slices.ContainsFunc(processes, func(p embedded.Process) bool { return p.Name == name })
}

// roleOfEach has each process take the role api.
func roleOfEach(t *testing.T, f *rolebustest.SelfFormed) {
	t.Helper()
	for _, p := range f.Processes() {
		if p.Running() {
			p.Bus(rolebus.WithRoles("api"))
		}
	}
}

func TestMemberIsRestarted(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 4, embedded.WithGrace(20*time.Second))
	watcher := f.Bus()
	roleOfEach(t, f)
	rolebustest.WaitNodes(t, watcher, "api", 4)
	for name, end := range map[string]func(*rolebustest.Process){"stopped": (*rolebustest.Process).Stop, "killed": (*rolebustest.Process).Kill} {
		p := f.Leader()
		end(p)
		require.False(t, p.Running())
		gone(t, watcher, p)
		p.Start()
		logged(t, "back after it was "+name, f.WaitReady)
		require.Equal(t, embedded.Member, p.Cluster().State().Part, "it has its place")
		require.Equal(t, embedded.Spare, f.Processes()[3].Cluster().State().Part)
		require.Equal(t, p.Name(), p.Bus(rolebus.WithRoles("api")).Name())
		rolebustest.WaitNodes(t, watcher, "api", 4)
	}
}

func TestFrozenMemberIsReplacedAndThaws(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 4, embedded.WithGrace(soon))
	watcher := f.Bus()
	roleOfEach(t, f)
	rolebustest.WaitNodes(t, watcher, "api", 4)
	p := f.Leader()
	p.Freeze()
	require.True(t, p.Running())
	logged(t, "replaced", f.WaitReady)
	require.NotSame(t, p, f.Leader())
	gone(t, watcher, p)
	require.Equal(t, embedded.Member, p.Cluster().State().Part, "it has heard of nothing")

	p.Thaw()
	logged(t, "a spare", func() {
		rolebustest.Within(t, time.Minute, "it to hear that it was replaced", func() bool { return p.Cluster().State().Part == embedded.Spare })
		f.WaitReady()
	})
	rolebustest.WaitRoles(t, watcher, p.Name(), "api")
}

// A freeze that is shorter than the grace changes nobody's place.
func TestFrozenMemberThawsInTime(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 4, embedded.WithGrace(time.Minute))
	watcher := f.Bus()
	roleOfEach(t, f)
	p := f.Leader()
	p.Freeze()
	gone(t, watcher, p)
	require.NotSame(t, p, f.Leader())
	p.Thaw()
	rolebustest.WaitRoles(t, watcher, p.Name(), "api")
	logged(t, "ready", f.WaitReady)
	require.Equal(t, embedded.Member, p.Cluster().State().Part)
}

func TestProcessIsReplacedByAnother(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 3, embedded.WithGrace(soon))
	watcher := f.Bus()
	for _, i := range []int{0, 1, 2} { // in the end none of the founders is there
		old := f.Processes()[i]
		another := old.Replace()
		require.False(t, old.Running())
		require.Same(t, another, f.Processes()[i])
		logged(t, old.Name()+" replaced by "+another.Name(), f.WaitReady)
		require.Equal(t, embedded.Member, another.Cluster().State().Part)
		another.Bus(rolebus.WithRoles("api"))
		rolebustest.WaitNodes(t, watcher, "api", i+1)
	}
	require.Equal(t, "process-6", f.Processes()[2].Name())
}

func TestSplitAndHealed(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 3)
	roleOfEach(t, f)
	cut := f.Leader()
	at := slices.Index(f.Processes(), cut)
	watcher := f.Processes()[(at+1)%3].Bus()
	rolebustest.WaitNodes(t, watcher, "api", 3)
	f.Split([]*rolebustest.Process{cut})
	logged(t, "two are ready", f.WaitReady)
	leader := f.Leader()
	require.NotSame(t, cut, leader)
	gone(t, watcher, cut)
	addRoles(t, leader.Bus(), "db")
	rolebustest.Within(t, time.Minute, "it to see that it is alone", func() bool { return !cut.Cluster().State().Ready })
	require.Equal(t, embedded.Member, cut.Cluster().State().Part)

	f.Heal()
	logged(t, "ready", f.WaitReady)
	rolebustest.WaitRoles(t, watcher, cut.Name(), "api")
	require.Equal(t, leader.Cluster().State().Cluster, cut.Cluster().State().Cluster)
}

// What has no majority founds nothing, and what has one replaces those who are cut off.
func TestMajorityReplacesWhoIsCutOff(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 5, embedded.WithGrace(soon))
	all := f.Processes()
	cut := []*rolebustest.Process{all[0], all[4]} // a member and a spare
	f.Split(cut, all[1:4])
	logged(t, "three are ready", f.WaitReady)
	require.Equal(t, embedded.Member, all[3].Cluster().State().Part)
	require.Equal(t, embedded.Spare, all[4].Cluster().State().Part)
	rolebustest.Within(t, time.Minute, "the others to be alone", func() bool {
		return !all[0].Cluster().State().Ready && !all[4].Cluster().State().Ready
	})
	f.Heal()
	rolebustest.Within(t, time.Minute, "who was cut off to be a spare", func() bool { return all[0].Cluster().State().Part == embedded.Spare })
	logged(t, "ready", f.WaitReady)
}

func TestMemberLeaves(t *testing.T) {
	t.Parallel()
	f := rolebustest.NewSelfFormed(t, 3, 4)
	watcher := f.Bus()
	roleOfEach(t, f)
	rolebustest.WaitNodes(t, watcher, "api", 4)
	p := f.Leader()
	logged(t, "left", p.Leave)
	require.False(t, p.Running())
	gone(t, watcher, p)
	logged(t, "ready", f.WaitReady)
	require.Equal(t, embedded.Member, f.Processes()[3].Cluster().State().Part)
	p.Start()
	logged(t, "a spare", f.WaitReady)
	require.Equal(t, embedded.Spare, p.Cluster().State().Part)
}

func TestFiveLoseTwo(t *testing.T) {
	t.Parallel()
	var f *rolebustest.SelfFormed
	logged(t, "formed", func() { f = rolebustest.NewSelfFormed(t, 5, 7, embedded.WithGrace(soon)) })
	watcher := f.Bus()
	roleOfEach(t, f)
	rolebustest.WaitNodes(t, watcher, "api", 7)
	f.Leader().Kill()
	f.Leader().Kill()
	logged(t, "replaced", f.WaitReady)
	rolebustest.WaitNodes(t, watcher, "api", 5)
	for _, p := range f.Processes() {
		if p.Running() {
			require.Equal(t, embedded.Member, p.Cluster().State().Part)
		}
	}
}
