package rolebus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/rolebustest"
)

// The Go code of README.md stands here, too, word for word: TestReadmeCodeIsTested compares them.

func Example() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, url := context.Background(), server.URL()

	bus, err := rolebus.Connect(ctx, url, rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	if err := bus.AddRoles(ctx, "api", "primary"); err != nil {
		log.Fatal(err)
	}
	for node := range bus.Nodes("api").All() {
		fmt.Println(node.Name(), node.Roles())
	}
	// Output: api-1 [api primary]
}

// A program that has a connection already.
func ExampleNew() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()

	nc, err := nats.Connect(server.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	bus, err := rolebus.New(ctx, nc,
		rolebus.WithNode("api-1"),
		rolebus.WithRoles("api"),
		rolebus.WithMeta(map[string]string{"addr": "10.0.0.7:8080"}))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close() // before the connection

	for node := range bus.Nodes("api").All() {
		fmt.Println(node.Name(), "at", node.Meta("addr"))
	}
	// Output: api-1 at 10.0.0.7:8080
}

func ExampleBus_Join() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	billing, err := bus.Join(ctx, "billing")
	if err != nil {
		log.Fatal(err)
	}
	if err := billing.AddRoles(ctx, "ledger"); err != nil {
		log.Fatal(err)
	}
	// Adding a role in a scope that is not joined joins it.
	if err := bus.In("search").AddRoles(ctx, "indexer"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bus.Scopes())                                  // [billing default search]
	fmt.Println(billing.Nodes("ledger"), bus.Nodes("ledger"))  // [api-1] []
	fmt.Println(bus.In("search").MyRoles(), billing.MyRoles()) // [indexer] [ledger]

	// Leaving takes all roles there away, for everybody, at once.
	if err := bus.Leave(ctx, "billing"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bus.Scopes())
	// Output:
	// [billing default search]
	// [api-1] []
	// [indexer] [ledger]
	// [default search]
}

func ExampleScope_Watch() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"), rolebus.WithRoles("api", "primary"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	for ev := range bus.Watch(ctx) {
		switch ev.Kind {
		case rolebus.NodeJoined, rolebus.NodeLeft:
			fmt.Println(ev.Kind, ev.Node)
		case rolebus.RoleAdded, rolebus.RoleRemoved:
			fmt.Println(ev.Kind, ev.Node, ev.Role)
		}
		if ev.Role == "primary" {
			break // the loop is yours
		}
	}
	// Output:
	// NodeJoined api-1
	// RoleAdded api-1 api
	// RoleAdded api-1 primary
}

func ExampleWithHandler() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, url := context.Background(), server.URL()

	added := make(chan rolebus.Event, 16)
	bus, err := rolebus.Connect(ctx, url,
		rolebus.WithNode("api-1"),
		rolebus.WithRoles("api"),
		rolebus.WithHandler(rolebus.Handler{
			OnRoleAdded: func(ev rolebus.Event) { added <- ev },
			OnNodeLeft:  func(ev rolebus.Event) { log.Println(ev.Scope, ev.Node, ev.Reason) },
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	ev := <-added
	fmt.Println(ev.Scope, ev.Node, ev.Role)
	// Output: default api-1 api
}

func ExampleRoleOf() {
	shard, err := rolebus.RoleOf([]any{"shard", 7})
	if err != nil {
		log.Fatal(err)
	}
	number, err := rolebus.RoleOf(42)
	if err != nil {
		log.Fatal(err)
	}
	text, err := rolebus.RoleOf("42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(shard, number, text) // ["shard",7] 42 "42"
	// Output: ["shard",7] 42 "42"
}

// Several questions to one and the same state.
func ExampleScope_Snapshot() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	bus, err := rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode("api-1"), rolebus.WithRoles("api"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	snap := bus.Snapshot()
	if stale := snap.Stale(); stale > 0 {
		log.Printf("no contact with NATS for %v", stale)
	}
	fmt.Println(snap.Nodes("api").Len(), "of", snap.AllNodes().Len(), "nodes have the role")
	// Output: 1 of 1 nodes have the role
}

// A change that NATS does not confirm in time is not lost.
func ExampleScope_AddRoles() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	bus, err := rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	if err := server.Close(); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err = bus.AddRoles(ctx, "primary")
	if errors.Is(err, rolebus.ErrNotConfirmed) {
		fmt.Println("not stored yet, but wanted: it is written when NATS is back")
	}
	// Output: not stored yet, but wanted: it is written when NATS is back
}

func ExampleScope_LeaseContext() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	bus, err := rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	ctx := bus.LeaseContext()
	select {
	case <-ctx.Done():
		log.Print("stop at once: ", context.Cause(ctx))
	default:
		fmt.Println("listed for another", bus.LeaseLeft())
	}
}

func ExampleBus_Done() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	newer, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer newer.Close()

	<-bus.Done()
	if errors.Is(bus.Err(), rolebus.ErrSuperseded) {
		fmt.Println("a newer process has this node's name")
	}
	// Output: a newer process has this node's name
}

func ExampleScope_WaitFor() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("db-1"), rolebus.WithRoles("db"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	if err := bus.WaitFor(ctx, "db", 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println("there is a database")
	// Output: there is a database
}

func TestFailover(t *testing.T) {
	server := rolebustest.NewServer(t)
	link := server.Link()
	watcher := server.Bus(rolebus.WithNode("api-1"))
	link.Bus(rolebus.WithNode("api-2"), rolebus.WithRoles("api"), rolebus.WithTTL(time.Second))
	rolebustest.WaitRoles(t, watcher, "api-2", "api")

	link.Cut() // to everybody else, the process has died
	rolebustest.WaitRoles(t, watcher, "api-2")
}
