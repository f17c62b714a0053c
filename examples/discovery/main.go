// Command discovery shows NATS servers that come and go, and nodes that find and follow them by themselves:
//
//	go run ./examples/discovery
//
// All of it runs inside this process, on this machine: a small DNS server, a hosts file, NATS servers, and three nodes, none of which is told a
// URL. One asks DNS, one reads the file, one does both. Servers come, go, and are replaced; DNS fails, and the file is emptied. After each step
// there is a line for each node: what it found, what is gone, what failed, to which servers its connection may go, and on which it is. Exit
// status 0 says that everything happened as it is told here, and that no node was lost meanwhile.
//
// Where to look: node.go is what a program does, and all that one needs; zone.go is the DNS server, servers.go has the NATS servers, and story.go
// the steps.
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

func main() { os.Exit(run()) }

func run() int {
	var s story
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
		fmt.Fprintln(os.Stderr, "discovery: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "discovery:", err)
		return 1
	}
	return 0
}

// misused says what is wrong with the arguments.
func misused(format string, args ...any) int {
	fmt.Fprintf(flag.CommandLine.Output(), "discovery: "+format+"\n", args...)
	usage()
	return 2
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Shows NATS servers that come and go, and nodes that find and follow them by
DNS and by a hosts file.

Usage:
  go run ./examples/discovery [flags]

It needs nothing but Go: all that it shows runs inside it, on the loopback
device. It ends by itself in some ten seconds: exit status 0 if all went as it
should, 1 if not, 130 after Ctrl-C.

Flags:
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
