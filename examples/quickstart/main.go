// Command quickstart shows rolebus at work, with nothing installed but Go:
//
//	go run ./examples/quickstart
//
// It starts a NATS server inside this process and three more processes of this same program. Each of them is a node
// that has roles in one or both of two scopes. This process is an observer: the table that it draws comes from its own
// snapshots, and every step of the story is told with the time from the action until the snapshots showed it. It ends
// by itself, and leaves nothing behind.
//
// Where to look: node.go is what a program does to take part, observer.go what it does to look on, story.go the steps.
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
const limit = 28 * time.Second

func main() {
	if spec, ok := os.LookupEnv(nodeEnv); ok {
		os.Exit(nodeMain(spec))
	}
	os.Exit(storyMain())
}

func storyMain() int {
	live := isTerminal(os.Stdout)
	var s story
	flag.StringVar(&s.url, "url", "", "")
	flag.DurationVar(&s.timeout, "timeout", 10*time.Second, "")
	flag.DurationVar(&s.pause, "pause", defaultPause(live), "")
	flag.Usage = usage
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return misused("%q: no arguments are taken, only flags", flag.Args())
	case s.timeout <= 0:
		return misused("-timeout %v: more than 0", s.timeout)
	case s.pause < 0:
		return misused("-pause %v: not less than 0", s.pause)
	}
	s.screen = &screen{out: os.Stdout, live: live, color: live && os.Getenv("NO_COLOR") == ""}

	signal.Ignore(syscall.SIGPIPE) // nobody reads on: an error of the next write, not an end without cleaning up
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := s.run(ctx)
	switch {
	case ctx.Err() != nil:
		if live {
			fmt.Print("\r\x1b[K") // over the ^C
		}
		fmt.Fprintln(os.Stderr, "quickstart: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		return 1
	}
	return 0
}

// misused says what is wrong with the arguments.
func misused(format string, args ...any) int {
	fmt.Fprintf(flag.CommandLine.Output(), "quickstart: "+format+"\n", args...)
	usage()
	return 2
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Shows rolebus at work: three processes, two scopes, and who has which role.

Usage:
  go run ./examples/quickstart [flags]

Without flags it needs nothing but Go: it starts a NATS server inside itself.
It ends by itself in about ten seconds: exit status 0 if every step happened,
1 if one did not, 130 after Ctrl-C.

Flags:
  -url URL      use this NATS server, such as nats://127.0.0.1:4222 (version 2.12
                or newer, with JetStream). All happens in a bucket of its own,
                rolebus-quickstart-<random>, which is removed at the end.
  -pause TIME   how long to rest before each step, for the eyes
                (default 1s on a terminal, else 0s)
  -timeout TIME how long a step may take (default 10s)

On a terminal the table is redrawn in place, with colors unless NO_COLOR is set;
elsewhere it is printed when it has changed.
`)
}

func defaultPause(live bool) time.Duration {
	if live {
		return time.Second
	}
	return 0
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
