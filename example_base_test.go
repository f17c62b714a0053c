package rolebus_test

import (
	"context"
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
