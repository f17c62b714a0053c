// Command events prints what happens in a scope as it happens, in the two ways that a program can hear of it: by a
// handler that the Bus calls, and by a loop over Scope.Watch.
//
//	go run ./examples/events                                      a demonstration with a server of its own; ends by itself
//	go run ./examples/events -url nats://127.0.0.1:4222           until Ctrl-C
//	go run ./examples/events -url ... -node desk-2 -roles a,b     in another terminal: each sees the other come and go
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

func main() {
	url := flag.String("url", "", "NATS server, such as nats://127.0.0.1:4222; without it one is started")
	node := flag.String("node", "desk-1", "this node's name")
	roles := flag.String("roles", "reader", "this node's roles, with commas between them")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "events: %q: no arguments are taken, only flags\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &printer{node: *node, roles: split(*roles)}
	var err error
	if *url != "" {
		err = p.run(ctx, *url)
	} else {
		err = demonstrate(ctx, p)
	}
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
}

// printer is a node that prints every event.
type printer struct {
	node  string
	roles []rolebus.Role
	heard chan rolebus.Event // if not nil, gets what was printed
}

// run joins and prints until ctx is over.
func (p *printer) run(ctx context.Context, url string) (err error) {
	handle := func(ev rolebus.Event) { p.print(ctx, "handler", ev) }
	bus, err := rolebus.Connect(ctx, url,
		rolebus.WithNode(p.node),
		rolebus.WithRoles(p.roles...),
		rolebus.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))), // such as for what it waits
		// The handler hears of all scopes that are joined, on a goroutine of its own.
		rolebus.WithHandler(rolebus.Handler{
			OnNodeJoined: handle, OnNodeLeft: handle, OnNodeBuried: handle,
			OnRoleAdded: handle, OnRoleRemoved: handle, OnMetaChanged: handle,
		}),
	)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()

	// The loop hears of one scope: first what is there already, then what changes. It ends with ctx, or with the Bus.
	for ev := range bus.Watch(ctx) {
		p.print(ctx, "watch", ev)
	}
	return bus.Err() // nil if it was ctx
}

func (p *printer) print(ctx context.Context, way string, ev rolebus.Event) {
	line := fmt.Sprintf("%s  %-7s  %-11s  %-16s", time.Now().Format("15:04:05.000"), way, ev.Kind, ev.Scope+"/"+ev.Node.Name())
	if ev.Role != "" {
		line += fmt.Sprintf("  %q", ev.Role)
	}
	if ev.Reason != 0 {
		line += fmt.Sprintf("  (%v)", ev.Reason)
	}
	fmt.Println(strings.TrimRight(line, " "))
	if p.heard != nil {
		select {
		case p.heard <- ev:
		case <-ctx.Done():
		}
	}
}

// demonstrate starts a server and prints the events while a guest comes, changes its roles, and goes.
func demonstrate(ctx context.Context, p *printer) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	server, err := embedded.Start()
	if err != nil {
		return err
	}
	defer server.Close()

	p.heard = make(chan rolebus.Event)
	printing, done := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer cancel() // if it cannot go on, nor can the guest
		ended <- p.run(printing, server.URL())
	}()
	err = visit(ctx, server.URL(), p.heard)
	done()
	return errors.Join(err, <-ended)
}

// visit is what the guest does. A reader that is slow misses steps, though never the end; the guest waits after each
// step until it was heard in both ways, so that nothing is missed here.
func visit(ctx context.Context, url string, heard <-chan rolebus.Event) error {
	guest, err := rolebus.Connect(ctx, url, rolebus.WithNode("guest"))
	if err != nil {
		return err
	}
	err = await(ctx, heard, rolebus.NodeJoined, "")
	if err == nil {
		err = errors.Join(guest.AddRoles(ctx, "cook", "waiter"), await(ctx, heard, rolebus.RoleAdded, "waiter"))
	}
	if err == nil {
		err = errors.Join(guest.RemoveRoles(ctx, "waiter"), await(ctx, heard, rolebus.RoleRemoved, "waiter"))
	}
	if err = errors.Join(err, guest.Close()); err != nil {
		return err
	}
	return await(ctx, heard, rolebus.NodeLeft, "")
}

// await waits until something about the guest was heard twice: by the handler and by the loop.
func await(ctx context.Context, heard <-chan rolebus.Event, kind rolebus.EventKind, role rolebus.Role) error {
	for times := 0; times < 2; {
		select {
		case ev := <-heard:
			if ev.Node.Name() == "guest" && ev.Kind == kind && ev.Role == role {
				times++
			}
		case <-ctx.Done():
			return fmt.Errorf("guest: %v was not heard: %w", kind, context.Cause(ctx))
		}
	}
	return nil
}

func split(list string) []rolebus.Role {
	var roles []rolebus.Role
	for word := range strings.SplitSeq(list, ",") {
		if word = strings.TrimSpace(word); word != "" {
			roles = append(roles, rolebus.Role(word))
		}
	}
	return roles
}
