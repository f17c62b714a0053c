package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

const (
	size   = 3        // servers: any one of them may fail
	worker = "worker" // the role that each process takes

	// grace is for how long a member may be away before a spare has its place. So short that the story is; 15 s is the default.
	grace = 4 * time.Second

	// ttl is how long a silent process is believed to live. Three seconds make a short story; the default is 15.
	ttl = 3 * time.Second

	memberEnv = "ROLEBUS_SELFFORMED_MEMBER" // set: this process is one of the five, and this is its memberSpec
	goodbye   = "goodbye"                   // the order to close the bus, and to keep the server
	leaving   = 2 * time.Second             // a goodbye takes no longer
)

// memberSpec is what a process is told at its start. Only the name and the directory differ.
type memberSpec struct {
	Name   string
	Dir    string // what it stores, and what it was: so it comes back as that
	Secret string
	Port   int // of gossip
}

func memberMain(raw string) int {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole group; the story says when to go
	var spec memberSpec
	err := json.Unmarshal([]byte(raw), &spec)
	if err == nil {
		err = runMember(spec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runMember is a member of the cluster, or a spare, until stdin ends: when the story says so, and also when it dies, however it dies.
func runMember(spec memberSpec) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders := make(chan string, 1)
	go func() {
		defer cancel()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			orders <- in.Text()
		}
	}()

	// What the processes must agree on: how they find each other, a secret, and how many servers there are.
	others := discovery.Gossip("selfformed", spec.Secret, discovery.GossipPort(spec.Port), discovery.ListenAddress("127.0.0.1"))
	cluster, err := embedded.Cluster(ctx, others,
		embedded.WithSize(size),
		embedded.WithSecret(spec.Secret),
		embedded.WithStoreDir(spec.Dir),
		embedded.WithName(spec.Name),
		embedded.WithGrace(grace),
	)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }() // it comes back: others lead first, and its place is kept
	defer tellState(cluster)()

	bus, err := cluster.Connect(ctx, rolebus.WithNode(spec.Name), rolebus.WithRoles(worker), rolebus.WithTTL(ttl))
	if ctx.Err() != nil {
		return nil // told to go before it was ready
	}
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return closeBus(bus)
	case <-bus.Done():
		return bus.Err()
	case <-orders:
		err := closeBus(bus)
		<-ctx.Done()
		return err
	}
}

// closeBus says goodbye, before the server goes that this process may be.
func closeBus(bus *rolebus.Bus) error {
	ctx, cancel := context.WithTimeout(context.Background(), leaving)
	defer cancel()
	return bus.Shutdown(ctx)
}

// state is what the story is told of a process.
type state struct {
	Part    embedded.Part
	Ready   bool
	Leader  string
	Members []string // whose processes live
	URL     string
	Waiting string
}

// tellState writes what the process knows of the cluster whenever that changes, until stop is called.
func tellState(cluster *embedded.ClusterServer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var telling sync.WaitGroup
	telling.Go(func() {
		out := json.NewEncoder(os.Stdout)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var told state
		for {
			s := cluster.State()
			now := state{Part: s.Part, Ready: s.Ready, Leader: s.Leader, URL: cluster.URL(), Waiting: s.Waiting}
			for _, m := range s.Members {
				if m.Live {
					now.Members = append(now.Members, m.Name)
				}
			}
			if !reflect.DeepEqual(now, told) {
				told = now
				_ = out.Encode(now) // nobody who reads: then stdin has ended, too
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); telling.Wait() }
}
