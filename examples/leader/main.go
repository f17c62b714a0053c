// Command leader shows three processes of which one leads, whatever happens to it, and a file that only the one who leads can write:
//
//	go run ./examples/leader
//
// It starts a NATS server inside this process and three processes of this same program, which all want to lead. The leader writes line
// after line into a file. It is killed; the next one is frozen in the middle of a line and thawed when another one leads; the next one is cut
// off from NATS; the last one is drained. The file refuses what the frozen one writes late: its token is an old one. At the end the story
// looks at the file: exit status 0 says that each term's lines stand together, and that tokens only grew.
//
// Where to look: member.go is what a program does to have one leader, and fence.go what it takes that nobody else can write. The rest
// makes the trouble: link.go is the way of each process to NATS, process.go has the processes as this one sees them, and story.go the steps.
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
		fmt.Fprintln(os.Stderr, "leader: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "leader:", err)
		return 1
	}
	return 0
}

// misused says what is wrong with the arguments.
func misused(format string, args ...any) int {
	fmt.Fprintf(flag.CommandLine.Output(), "leader: "+format+"\n", args...)
	usage()
	return 2
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Shows three processes of which one leads: the leader is killed, frozen and thawed,
cut off, and drained, and a file refuses what a leader of before writes late.

Usage:
  go run ./examples/leader [flags]

It needs nothing but Go: it starts a NATS server inside itself, and ends by
itself within half a minute: exit status 0 if nobody wrote whose term was over,
1 if not, 130 after Ctrl-C. On Windows nobody is frozen.

Flags:
  -pause TIME   how long to rest before each step, for the eyes
                (default 1s on a terminal, else 0s)
`)
}

func isTerminal() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
