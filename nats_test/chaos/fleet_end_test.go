//go:build linux

package chaos_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlanIsAFunctionOfTheSeed(t *testing.T) {
	told := func(seed uint64) string {
		var b strings.Builder
		for _, next := range newPlan(rand.New(rand.NewPCG(seed, 1)), faultKinds, 5*time.Minute, []string{"n1", "o1"}, []string{"n1"}) {
			b.WriteString(next.String() + next.at.String() + "\n")
		}
		return b.String()
	}
	require.Equal(t, told(1), told(1))
	require.NotEqual(t, told(1), told(2))
	for _, k := range faultKinds {
		if !strings.Contains(told(1)+told(2)+told(3)+told(4)+told(5)+told(6)+told(7)+told(8), k.name+" ") {
			t.Errorf("%s is in none of eight plans of five minutes", k.name)
		}
	}
}

// TestEachFaultIsCommon is about what is run before something is released: a hundred seeds, for 45 s each.
func TestEachFaultIsCommon(t *testing.T) {
	times := map[string]int{}
	for seed := range uint64(100) {
		for _, next := range newPlan(rand.New(rand.NewPCG(seed+1, 1)), faultKinds, 45*time.Second, []string{"n1", "n2", "n3", "n4", "n5", "o1", "o2"},
			[]string{"n1", "n2", "n3", "n4", "n5"}) {
			times[next.kind.name]++
		}
	}
	t.Log(times)
	for _, k := range faultKinds {
		if times[k.name] < 5 {
			t.Errorf("%s: %d times in a hundred runs", k.name, times[k.name])
		}
	}
}

func TestChosenFaults(t *testing.T) {
	kinds, err := chosen("kill,store")
	require.NoError(t, err)
	require.Len(t, kinds, 1+len(storeFaults))
	_, err = chosen("kill,earthquake")
	require.ErrorContains(t, err, `"earthquake"`)
}

// TestNoProcessIsLeft closes a fleet of which one server and one node are frozen, and another node dead.
func TestNoProcessIsLeft(t *testing.T) {
	t.Parallel()
	f, err := newFleet(t.TempDir(), nil)
	require.NoError(t, err)
	for _, s := range f.seats[:3] {
		require.NoError(t, s.start())
	}
	var pids []*os.Process
	for _, s := range f.servers {
		pids = append(pids, s.proc.Process)
	}
	for _, s := range f.seats[:3] {
		pids = append(pids, s.now().Process)
	}
	_, _, err = freezeServer(f, planned{place: 1}, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	f.seats[0].freeze(f.seats[0].now())
	f.seats[1].kill(f.seats[1].now())
	f.close()
	for _, p := range pids {
		require.ErrorIs(t, p.Signal(syscall.Signal(0)), os.ErrProcessDone)
	}
}

// TestChildrenEndWithTheirController kills a controller that has no time to end anything.
func TestChildrenEndWithTheirController(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+parentChild, "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 64)
	n, err := out.Read(line)
	require.NoError(t, err)
	child := strings.TrimSpace(string(line[:n]))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Eventually(t, func() bool {
		status, err := os.ReadFile("/proc/" + child + "/stat")
		return err != nil || strings.Contains(string(status), ") Z ") // gone, or only not yet buried by whoever inherited it
	}, 10*time.Second, 20*time.Millisecond)
}
