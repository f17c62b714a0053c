package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/discovery"
)

// patience is how long a step may take.
const patience = 10 * time.Second

// story has servers come and go, and looks what becomes of the nodes.
type story struct {
	pause time.Duration

	servers *servers
	nodes   []*node
	cancel  context.CancelFunc // of nodes that still wait for a server
}

// step is one line of the story, with a line for each node.
type step struct {
	told string
	act  func(context.Context) error // makes it happen
	seen func(n *node) bool          // by each node
}

func (s *story) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	ctx, cancel := context.WithTimeoutCause(ctx, limit+time.Duration(len(s.steps()))*s.pause, errors.New("the story took too long"))
	defer cancel()
	if s.servers, err = openServers(); err != nil {
		return err
	}
	if _, err := fmt.Print("rolebus discovery: NATS servers come and go; three nodes have no URL, and follow them\n\n"); err != nil {
		return err
	}
	for _, st := range s.steps() {
		if err := s.take(ctx, st); err != nil {
			return err
		}
	}
	return s.summary()
}

// steps is the story.
func (s *story) steps() []step {
	may := func(servers ...string) func(*node) bool {
		return func(n *node) bool {
			return n.hasHeard(s.servers.came, s.servers.went) && n.sees(len(s.nodes), servers...)
		}
	}
	trouble := map[string][]discovery.Reason{
		"dns": {discovery.ReasonUnavailable}, "file": {discovery.ReasonEmpty}, "both": {discovery.ReasonUnavailable, discovery.ReasonEmpty},
	}
	return []step{{
		told: "three nodes start; no server runs, DNS has no such name, and there is no file",
		act:  s.start,
		seen: func(n *node) bool { return n.hears(discovery.ReasonNotFound) },
	}, {
		told: "server a comes, and is listed in DNS and in the file",
		act:  func(context.Context) error { return s.servers.come("a") },
		seen: may("a"),
	}, {
		told: "b and c come",
		act:  func(context.Context) error { return s.servers.come("b", "c") },
		seen: may("a", "b", "c"),
	}, {
		told: "a goes, and is taken off the lists",
		act: func(context.Context) error {
			s.servers.stop("a")
			s.servers.unlist("a")
			return s.servers.list()
		},
		seen: may("b", "c"),
	}, {
		told: "trouble: DNS answers SERVFAIL, and somebody empties the file. Nothing goes",
		act:  func(context.Context) error { return s.servers.fail() },
		seen: func(n *node) bool { return n.hears(trouble[n.by]...) && n.sees(len(s.nodes), "b", "c") },
	}, {
		told: "b goes meanwhile, and no list can say so",
		act:  func(context.Context) error { s.servers.stop("b"); return nil },
		seen: func(n *node) bool { return n.sees(len(s.nodes), "b", "c") && n.isOn("c") },
	}, {
		told: "d comes in place of b, and the lists are right again",
		act:  func(context.Context) error { s.servers.unlist("b"); return s.servers.come("d") },
		seen: may("c", "d"),
	}, {
		told: "c goes, and e comes in its place",
		act: func(context.Context) error {
			s.servers.unlist("c")
			if err := s.servers.come("e"); err != nil {
				return err
			}
			s.servers.stop("c")
			return nil
		},
		seen: may("d", "e"),
	}}
}

// start starts the nodes.
func (s *story) start(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(ctx)
	for _, by := range []string{"dns", "file", "both"} {
		n := newNode(fmt.Sprintf("node-%d", len(s.nodes)+1), by, s.servers.nameOf)
		s.nodes = append(s.nodes, n)
		dns, file := n.byDNS(s.servers.zone), n.byFile(s.servers.file())
		n.start(ctx, map[string]discovery.Strategy{"dns": dns, "file": file, "both": discovery.Combine(dns, file)}[by])
	}
	return nil
}

// take makes a step happen, waits until each node has seen it, and tells it with the time that this took.
func (s *story) take(ctx context.Context, st step) error {
	if err := rest(ctx, s.pause); err != nil {
		return err
	}
	for _, n := range s.nodes {
		n.begin()
	}
	began := time.Now()
	if err := st.act(ctx); err != nil {
		return fmt.Errorf("%w, instead of: %s", err, st.told)
	}
	for _, n := range s.nodes {
		for !st.seen(n) {
			if err := rest(ctx, time.Millisecond); err != nil {
				return err
			}
			if time.Since(began) > patience {
				return fmt.Errorf("within %v it did not happen that %s; %s", patience, st.told, strings.TrimSpace(n.tell()))
			}
		}
	}
	took := time.Since(began)
	// nats-server 2.15.2 has a data race, without harm here, if a leaf node comes while the subscriptions of another one change.
	for _, n := range s.nodes {
		if err := n.settled(ctx); err != nil {
			return fmt.Errorf("%s: the hub does not answer: %w", n.name, err)
		}
	}
	if _, err := fmt.Printf("%6d ms  %s\n", took.Milliseconds(), st.told); err != nil {
		return err
	}
	for _, n := range s.nodes {
		fmt.Println(n.tell())
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// summary tells what became of each node. The error says that some were lost.
func (s *story) summary() error {
	fmt.Printf("\n%-8s%-7s%7s%6s%18s   %s\n", "", "by", "found", "gone", "failed lookups", "connected to")
	lost := 0
	for _, n := range s.nodes {
		n.mu.Lock()
		fmt.Printf("%-8s%-7s%7d%6d%18d   %s\n", n.name, n.by, n.found, n.gone, n.failed, strings.Join(n.connections, ", "))
		lost += n.lost
		n.mu.Unlock()
	}
	if lost > 0 {
		return fmt.Errorf("nodes were taken for gone %d times, and none was", lost)
	}
	_, err := fmt.Println("\nfive servers came, three went, and no node was lost")
	return err
}

func (s *story) close() error {
	if s.cancel != nil {
		s.cancel()
	}
	var errs []error
	for _, n := range slices.Backward(s.nodes) {
		errs = append(errs, n.close())
	}
	if s.servers != nil {
		errs = append(errs, s.servers.close())
	}
	return errors.Join(errs...)
}
