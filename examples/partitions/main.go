// Command partitions shows workers that share the partitions of a stream of jobs: each job belongs to a customer, and those of one customer are done one after
// another, by whoever has the customer's partition.
//
//	go run ./examples/partitions            each worker goes by what it sees: quick, and for moments two may have one partition
//	go run ./examples/partitions -strict    each partition is a term: two never have one
//
// It starts a NATS server inside this process and three workers, processes of this same program. One is killed, one joins, one is drained, and jobs
// come all the time. It prints who has what. At the end it tells what became of the jobs: exit status 0 says that none was lost, that each
// customer's were done in their order, and with -strict that two never worked in one partition.
//
// Where to look: worker.go is what a program does. The rest makes the trouble: job.go sends jobs, process.go has the workers as this
// process sees them, ledger.go takes down what they say, and story.go has the steps.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// limit ends the story, whatever happens; pauses for the eyes come on top.
const limit = 60 * time.Second

func main() {
	if spec, ok := os.LookupEnv(workerEnv); ok {
		os.Exit(workerMain(spec))
	}
	os.Exit(storyMain())
}

func storyMain() int {
	var s story
	usual := time.Duration(0)
	if isTerminal() {
		usual = time.Second
	}
	flag.BoolVar(&s.strict, "strict", false, "")
	flag.DurationVar(&s.pause, "pause", usual, "")
	flag.Usage = usage
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return misused("%q: no arguments are taken, only flags", flag.Args())
	case s.pause < 0:
		return misused("-pause %v: not less than 0", s.pause)
	}
	s.live = isTerminal()

	signal.Ignore(syscall.SIGPIPE) // nobody reads on: an error of the next write, not an end without cleaning up
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := s.run(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "partitions: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "partitions:", err)
		return 1
	}
	return 0
}

// misused says what is wrong with the arguments.
func misused(format string, args ...any) int {
	fmt.Fprintf(flag.CommandLine.Output(), "partitions: "+format+"\n", args...)
	usage()
	return 2
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Shows workers that share the partitions of a stream of jobs, while one of them is
killed, one joins, and one is drained.

Usage:
  go run ./examples/partitions [flags]

It needs nothing but Go: it starts a NATS server inside itself, and ends by
itself within half a minute: exit status 0 if no job was lost, and all of a
customer were done in their order, 1 if not, 130 after Ctrl-C.

Flags:
  -strict       each partition is a term, which two never have at the same time
  -pause TIME   how long to rest before each step, for the eyes
                (default 1s on a terminal, else 0s)
`)
}

func isTerminal() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
