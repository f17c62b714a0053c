// Command calls shows what a caller is told while the processes that it calls are killed and drained:
//
//	go run ./examples/calls
//
// It starts a NATS server inside this process and three more processes of this same program, each a node with the role "shop" that
// handles two methods. This process calls them all the time, by the role: "price" may run again, so it is retried; "charge" must
// not run twice, so it is not. One process is killed in the middle of it, another one is drained. At the end every price call
// has been answered, and of every charge that was not the caller knows whether it may have been made. The processes keep books of
// what they really charged, in which this is looked up: exit status 0 says that no caller was told anything wrong.
//
// Where to look: shop.go is what a program does to serve, customers.go what it does to call, report.go what is held against the
// books; story.go has the steps.
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
const limit = 20 * time.Second

func main() {
	if spec, ok := os.LookupEnv(shopEnv); ok {
		os.Exit(shopMain(spec))
	}
	os.Exit(storyMain())
}

func storyMain() int {
	var s story
	flag.StringVar(&s.url, "url", "", "")
	flag.DurationVar(&s.pause, "pause", defaultPause(), "")
	flag.Usage = usage
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return misused("%q: no arguments are taken, only flags", flag.Args())
	case s.pause < 0:
		return misused("-pause %v: not less than 0", s.pause)
	}

	signal.Ignore(syscall.SIGPIPE) // nobody reads on: an error of the next write, not an end without cleaning up
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := s.run(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "calls: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "calls:", err)
		return 1
	}
	return 0
}

// misused says what is wrong with the arguments.
func misused(format string, args ...any) int {
	fmt.Fprintf(flag.CommandLine.Output(), "calls: "+format+"\n", args...)
	usage()
	return 2
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Shows what a caller is told while the processes that it calls are killed and drained.

Usage:
  go run ./examples/calls [flags]

Without flags it needs nothing but Go: it starts a NATS server inside itself.
It ends by itself in a few seconds: exit status 0 if every promise was kept,
1 if one was not, 130 after Ctrl-C.

Flags:
  -url URL      use this NATS server, such as nats://127.0.0.1:4222 (version 2.12
                or newer, with JetStream). All happens in a bucket of its own,
                rolebus-calls-<random>, which is removed at the end.
  -pause TIME   how long to rest before each step, for the eyes
                (default 1s on a terminal, else 0s)
`)
}

func defaultPause() time.Duration {
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" {
		return time.Second
	}
	return 0
}
