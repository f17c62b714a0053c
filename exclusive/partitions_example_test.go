package exclusive_test

import (
	"context"
	"fmt"
	"log"
	"strconv"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/exclusive"
)

// A call goes to the node that owns the partition of its input.
func ExampleOwner() {
	ctx := context.Background()
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("shop-1"), rolebus.WithRoles("shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	if _, err := call.Handle(bus.Scope, "stock", func(_ context.Context, item int) (string, error) {
		return "item " + strconv.Itoa(item) + " by " + bus.Name(), nil
	}); err != nil {
		log.Fatal(err)
	}

	stock, err := call.New[int, string](bus.Scope, "shop", "stock")
	if err != nil {
		log.Fatal(err)
	}
	item := 4711
	if owner, is := exclusive.Owner(bus.Scope, "shop", 64, item%64); is {
		fmt.Println(stock.CallNode(ctx, owner, item))
	}
	// Output: item 4711 by shop-1 <nil>
}
