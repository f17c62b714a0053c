package examples_test

import (
	"flag"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The jobs example under load and faults, briefly, or for as long as one likes:
//
//	go test ./examples -run 'TestNoJobIsLost|TestDrainedWorkers' -v -parallel 1 -jobs-for 60s
var (
	jobsFor  = flag.Duration("jobs-for", 4*time.Second, "how long the jobs example sends jobs")
	jobsSeed = flag.Uint64("jobs-seed", 0, "the seed of what happens to its workers; 0: another each time")
)

func TestNoJobIsLost(t *testing.T) {
	t.Parallel()
	p := start(t, "jobs", "-for", jobsFor.String(), "-seed", strconv.FormatUint(*jobsSeed, 10))
	require.Equal(t, 0, p.waitWithin(t, *jobsFor+deadline), p)
	t.Log(p.stdout.String())
	p.leavesNothing(t)
	noJobIsLost(t, p, "SIGTERM|SIGKILL|SIGSTOP")
}

// A worker that leaves in an orderly way goes on until everybody knows: then nobody needs a second try. At half the rate, so that no
// worker has enough to do and refuses a job, on whatever machine.
func TestDrainedWorkersLoseNoJobThoughNothingIsRetried(t *testing.T) {
	t.Parallel()
	p := start(t, "jobs", "-for", jobsFor.String(), "-seed", strconv.FormatUint(*jobsSeed, 10), "-retry=false", "-faults", "SIGTERM", "-rate", "100")
	require.Equal(t, 0, p.waitWithin(t, *jobsFor+deadline), p)
	t.Log(p.stdout.String())
	p.leavesNothing(t)
	noJobIsLost(t, p, "SIGTERM")
}

func noJobIsLost(t *testing.T, p *program, faults string) {
	t.Helper()
	require.Empty(t, p.stderr.String())
	inOrder(t, p.stdout.String(),
		`-seed \d+\n`,
		`workers are there`,
		`worker-\d +(`+faults+`) `,
		`all jobs have ended`,
		`during \d+ (`+faults+`) `,
		`all +\d+ +\d+ +0 `,
		`no job was lost, and every result is right\n$`,
	)
	all := regexp.MustCompile(`all +(\d+) `).FindStringSubmatch(p.stdout.String())
	jobs, err := strconv.Atoi(all[1])
	require.NoError(t, err)
	require.Positive(t, jobs)
}

// Also a frozen worker ends when the story does.
func TestJobsInterrupted(t *testing.T) {
	t.Parallel()
	p := start(t, "jobs", "-for", "1m", "-faults", "SIGSTOP")
	p.waitFor(t, `worker-\d +SIGSTOP`)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.Equal(t, 130, p.wait(t), p)
	require.Equal(t, "jobs: interrupted\n", p.stderr.String())
	p.leavesNothing(t)
}

// A parent that is killed cannot clean up its files, nor thaw anybody, but no process outlives it.
func TestJobsKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "jobs", "-for", "1m", "-faults", "SIGSTOP")
	p.waitFor(t, `worker-\d +SIGSTOP`)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait(t)
	p.leavesNoProcess(t)
}

func TestJobsUseAServerAndLeaveItAsItWas(t *testing.T) {
	t.Parallel()
	url := server(t).URL()
	before := streams(t, url)
	p := start(t, "jobs", "-url", url, "-for", "1s", "-workers", "2")
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)
	require.Equal(t, before, streams(t, url))
}

func TestJobsWithoutTheServer(t *testing.T) {
	t.Parallel()
	s := server(t)
	require.NoError(t, s.Close())
	p := start(t, "jobs", "-url", s.URL())
	require.Equal(t, 1, p.wait(t), p)
	require.Contains(t, p.stderr.String(), "jobs: ")
	p.leavesNothing(t)
}

func TestJobsHelp(t *testing.T) {
	t.Parallel()
	p := start(t, "jobs", "--help")
	require.Equal(t, 0, p.wait(t), p)
	for _, name := range []string{"for", "workers", "rate", "seed", "faults", "hedge", "retry", "events", "url"} {
		require.Contains(t, p.stderr.String(), "\n  -"+name)
	}
	for _, wrong := range []string{"worker-1", "-workers=0", "-faults=SIGHUP", "-for=soon"} {
		p = start(t, "jobs", wrong)
		require.Equal(t, 2, p.wait(t), p)
	}
}
