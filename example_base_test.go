package rolebus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// Work that is sent to a node by its role, as a package on top of the bus does it: a life of the node hears it from when others can know
// of that life, and leaves when what it heard is done.
func ExampleScope_Listen() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	worker, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("worker-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()

	jobs := worker.In("jobs")
	var running sync.WaitGroup
	jobs.OnLeave(func(context.Context) { running.Wait() })
	_, err = jobs.Listen("job", "greet", func(msg *nats.Msg) {
		running.Go(func() { _ = msg.Respond(append([]byte("hello "), msg.Data...)) }) // Listen's own function must not block
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := jobs.AddRoles(ctx, "worker"); err != nil {
		log.Fatal(err)
	}

	node := jobs.Nodes("worker").Pick()
	reply, err := worker.Conn().Request(jobs.Address("job", node, "greet"), []byte("world"), time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(reply.Data))
	if err := worker.Leave(ctx, "jobs"); err != nil { // no role, then no work, then no node
		log.Fatal(err)
	}
	fmt.Println(jobs.Probe(ctx, node))
	// Output:
	// hello world
	// rolebus: probe worker-1 in scope "jobs": node is gone: it is this process: scope is not joined
}

// A fact that belongs to nobody's life: which release a scope is at. Whoever moves it says from where, so that two who do so at the same time do not
// both believe that it was them.
func ExampleScope_Entries() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("deployer"), rolebus.WithRoles("deployer"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	releases := bus.Entries("release")
	told := make(chan rolebus.EntryNews, 16)
	stop, err := releases.Follow(func(news rolebus.EntryNews) { told <- news })
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	fmt.Println("at first", len((<-told).Entries))

	first, err := releases.Put(ctx, "web", `{"version": "1.0"}`, 0) // nothing stands there
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println((<-told).Entries[0].Value)
	if _, err = releases.Put(ctx, "web", `{"version": "2.0"}`, first); err != nil {
		log.Fatal(err)
	}
	fmt.Println((<-told).Entries[0].Value)
	_, err = releases.Put(ctx, "web", `{"version": "1.1"}`, first) // somebody was quicker
	fmt.Println(errors.Is(err, rolebus.ErrConflict))
	// Output:
	// at first 0
	// {"version":"1.0"}
	// {"version":"2.0"}
	// true
}
