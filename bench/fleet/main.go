// Command fleet shows how every cost of rolebus grows with the number of nodes:
//
//	go run ./bench/fleet
//
// For each size it starts a server and so many buses, each kind in processes of its own, and measures what it takes to
// join, to tell everybody of a change, to be idle, to remember everybody, and to leave. Beside each change stands its
// floor: the same connections get one message of core NATS. Larger scopes, to 100,000 nodes, are simulated by their
// records alone: one client writes them, one observer reads them.
//
// Where to look: fleet.go is the story of one size, records.go that of one simulation. What a process of a kind does is
// in a file of its own: server.go, buses.go with watch.go and floor.go, loader.go. process.go and child.go are the two
// ends of the pipe between a child and the program that started it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if kind, ok := os.LookupEnv(kindOfProcess); ok {
		os.Exit(childMain(kind))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	os.Exit(fleetMain(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// fleetMain runs the program and returns its exit status.
func fleetMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p, err := parsePlan(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "fleet:", err)
		return 2
	}
	r, err := p.run(ctx, newProgress(stderr))
	if r != nil { // also what was measured until then
		err = errors.Join(err, r.publish(p, stdout))
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "fleet: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "fleet:", err)
		return 1
	}
	return 0
}
