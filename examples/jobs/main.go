// Command jobs is a job service: a dispatcher gives jobs to workers, which come and go, die and hang. No job is lost.
//
//	go run ./examples/jobs
//
// It starts a NATS server inside this process and the workers as processes of this same program. For some seconds it sends jobs
// and terminates, kills and freezes workers meanwhile, and starts them again. At the end it tells how many jobs there were, how
// many had to be given to another worker, and how long they took. Exit status 0 says that no job was lost and every result right.
//
// Where to look: dispatcher.go and worker.go are the service, and job.go what they tell each other. The rest makes the trouble:
// story.go sends jobs, nemesis.go and child.go do the harm, report.go counts.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if spec, ok := os.LookupEnv(workerEnv); ok {
		os.Exit(workerMain(spec))
	}
	os.Exit(storyMain())
}

func storyMain() int {
	s := story{faults: possible}
	flag.StringVar(&s.url, "url", "", "")
	flag.DurationVar(&s.lasts, "for", 10*time.Second, "")
	flag.IntVar(&s.workers, "workers", 4, "")
	flag.IntVar(&s.rate, "rate", 200, "")
	flag.Uint64Var(&s.seed, "seed", 0, "")
	flag.DurationVar(&s.hedge, "hedge", 150*time.Millisecond, "")
	flag.BoolVar(&s.retry, "retry", true, "")
	flag.BoolVar(&s.events, "events", true, "")
	flag.Func("faults", "", s.chooseFaults)
	flag.Usage = usage
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return misused("%q: no arguments are taken, only flags", flag.Args())
	case s.lasts <= 0:
		return misused("-for %v: more than 0", s.lasts)
	case s.workers <= 0:
		return misused("-workers %d: more than 0", s.workers)
	case s.rate <= 0:
		return misused("-rate %d: more than 0", s.rate)
	case s.hedge < 0:
		return misused("-hedge %v: not less than 0", s.hedge)
	}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1_000_000) + 1 // short enough to be typed again
	}
	if s.hedge == 0 {
		s.hedge = math.MaxInt64 // never
	}
	s.color = isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""

	signal.Ignore(syscall.SIGPIPE) // nobody reads on: an error of the next write, not an end without cleaning up
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := s.run(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "jobs: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "jobs:", err)
		return 1
	}
	return 0
}

func (s *story) chooseFaults(names string) error {
	s.faults = nil
	for name := range strings.SplitSeq(names, ",") {
		if !slices.Contains(possible, fault(name)) {
			return fmt.Errorf("here there are %v", possible)
		}
		s.faults = append(s.faults, fault(name))
	}
	return nil
}

// misused says what is wrong with the arguments.
func misused(format string, args ...any) int {
	fmt.Fprintf(flag.CommandLine.Output(), "jobs: "+format+"\n", args...)
	usage()
	return 2
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Shows a job service whose workers are terminated, killed and frozen, and that loses no job.

Usage:
  go run ./examples/jobs [flags]

Without flags it needs nothing but Go: it starts a NATS server inside itself, and
ends by itself: exit status 0 if no job was lost and every result was right, 1 if
not, 130 after Ctrl-C.

Flags:
  -for TIME      how long to send jobs (default 10s)
  -workers N     worker processes (default 4)
  -rate N        jobs in a second (default 200)
  -seed N        what happens to whom, and when; printed (default: another each time)
  -faults LIST   what happens to workers, such as SIGTERM,SIGKILL (default also SIGSTOP;
                 on Windows there is only SIGKILL)
  -hedge TIME    a job without an answer for so long is given to one more worker;
                 0: never (default 150ms)
  -retry=false   give each job to one worker only, whatever happens
  -events=false  start a server that tells nobody of closed connections
  -url URL       use this NATS server, such as nats://127.0.0.1:4222 (version 2.12
                 or newer, with JetStream). All happens in a bucket of its own,
                 rolebus-jobs-<random>, which is removed at the end.
`)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
