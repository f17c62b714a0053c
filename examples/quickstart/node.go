package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
)

// The scopes overlap: a node is in one of them or in both. Roles of one scope are not seen in the other.
const (
	shop    = "shop"
	billing = "billing"
)

// ttl is how long a silent process is believed to live. Two seconds make a short story; the default is 15.
const ttl = 2 * time.Second

const (
	nodeEnv        = "ROLEBUS_QUICKSTART_NODE" // set: this process is a node, and this is its nodeSpec
	exitSuperseded = 3
)

// nodeSpec is what the story tells a process at its start.
type nodeSpec struct {
	URL    string
	Bucket string
	Name   string
	Roles  map[string][]rolebus.Role // by scope
}

func nodeMain(raw string) int {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole group; the story says when to go
	var spec nodeSpec
	err := json.Unmarshal([]byte(raw), &spec)
	if err == nil {
		err = runNode(spec)
	}
	switch {
	case errors.Is(err, rolebus.ErrSuperseded):
		return exitSuperseded
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runNode takes part in the fleet until stdin ends: when the story says so, and also when it dies, however it dies.
func runNode(spec nodeSpec) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders := make(chan string)
	go func() {
		defer cancel()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			orders <- in.Text()
		}
	}()

	bus, err := rolebus.Connect(ctx, spec.URL,
		rolebus.WithBucket(spec.Bucket),
		rolebus.WithNode(spec.Name),
		rolebus.WithMeta(map[string]string{"pid": strconv.Itoa(os.Getpid())}),
		rolebus.WithTTL(ttl),
		rolebus.WithRequestTimeout(time.Second),
		rolebus.WithDefaultScope(shop),
		rolebus.WithRoles(spec.Roles[shop]...),
	)
	if err != nil {
		return err
	}
	// The first role in a scope joins it.
	if err := bus.In(billing).AddRoles(ctx, spec.Roles[billing]...); err != nil {
		return errors.Join(err, bus.Close())
	}
	for {
		select {
		case <-ctx.Done():
			return bus.Close() // the goodbye: all roles are gone at once, everywhere
		case <-bus.Done():
			return bus.Err() // a newer process has this node's name
		case order := <-orders:
			if err := obey(ctx, bus, order); err != nil {
				return errors.Join(err, bus.Close())
			}
		}
	}
}

// obey does as an order says: "add shop checkout", "remove shop checkout".
func obey(ctx context.Context, bus *rolebus.Bus, order string) error {
	words := strings.Fields(order)
	if len(words) != 3 {
		return fmt.Errorf("order %q: not three words", order)
	}
	scope, role := bus.In(words[1]), rolebus.Role(words[2])
	switch words[0] {
	case "add":
		return scope.AddRoles(ctx, role)
	case "remove":
		return scope.RemoveRoles(ctx, role)
	}
	return fmt.Errorf("order %q: unknown", order)
}
