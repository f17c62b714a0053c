// Command selfformed shows processes that are their own NATS, with nothing installed but Go:
//
//	go run ./examples/selfformed
//
// It starts five processes of this same program. They find each other by gossip on the loopback device; three of them run a NATS server
// each, which are a cluster, and two are spares. Each takes a role on a bus that goes over these servers. The process that leads is
// killed, and a spare has its place; one is restarted, and comes back with what it stored; then all are, one after another, as an update
// does. This process is none of the five: it looks on, and all the time whether each process that lives has its role in the snapshot. At
// the end it tells how often it looked, and that none was ever missing: exit status 0 says so.
//
// Where to look: member.go is what a program does to be part of such a cluster, and all that one needs; witness.go is what looks on,
// fleet.go and process.go have the processes as this one sees them, and story.go the steps.
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
const limit = 50 * time.Second

func main() {
	if spec, ok := os.LookupEnv(memberEnv); ok {
		os.Exit(memberMain(spec))
	}
	os.Exit(storyMain())
}

func storyMain() int {
	var s story
	usual := time.Duration(0)
	if isTerminal() {
		usual = time.Second
	}
	flag.DurationVar(&s.pause, "pause", usual, "")
	flag.DurationVar(&s.limit, "limit", limit, "")
	flag.Usage = usage
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return misused("%q: no arguments are taken, only flags", flag.Args())
	case s.pause < 0:
		return misused("-pause %v: not less than 0", s.pause)
	case s.limit <= 0:
		return misused("-limit %v: more than 0", s.limit)
	}
	s.live = isTerminal()

	signal.Ignore(syscall.SIGPIPE) // nobody reads on: an error of the next write, not an end without cleaning up
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := s.run(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "selfformed: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "selfformed:", err)
		return 1
	}
	return 0
}

// misused says what is wrong with the arguments.
func misused(format string, args ...any) int {
	fmt.Fprintf(flag.CommandLine.Output(), "selfformed: "+format+"\n", args...)
	usage()
	return 2
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Shows five processes that are their own NATS: they form a cluster, one is killed
and replaced, one is restarted, all are, and no role is missing meanwhile.

Usage:
  go run ./examples/selfformed [flags]

It needs nothing but Go: all that it shows happens on the loopback device, and in
a temporary directory. It ends by itself within a minute: exit status 0 if all
went as it should, 1 if not, 130 after Ctrl-C.

Flags:
  -pause TIME   how long to rest before each step, for the eyes
                (default 1s on a terminal, else 0s)
  -limit TIME   how long it may take without the pauses (default 50s)
`)
}

func isTerminal() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
