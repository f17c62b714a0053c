package call_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/embedded"
)

// The Go code of docs/CALLS.md, and the recipe of README.md, stand here, too, word for word: TestCodeInDocumentsIsTested compares them.

type Order struct {
	Item   string
	Amount int
}

type Price struct{ Cents int }

type Receipt struct{ Cents int }

var catalogue = map[string]int{"tea": 450, "milk": 120}

// join makes a node with a server of its own.
func join(node string) (bus *rolebus.Bus, end func()) {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	bus, err = rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode(node))
	if err != nil {
		log.Fatal(err)
	}
	return bus, func() { bus.Close(); server.Close() }
}

// One process serves and calls itself here; they are as many as you like, elsewhere.
func Example() {
	bus, end := join("shop-1")
	defer end()
	ctx := context.Background()

	_, err := call.Handle(bus.Scope, "price", func(ctx context.Context, order Order) (Price, error) {
		return Price{Cents: catalogue[order.Item] * order.Amount}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.AddRoles(ctx, "shop"); err != nil {
		log.Fatal(err)
	}

	price := call.Func[Order, Price](bus.Scope, "shop", "price", call.Idempotent(), call.Retry(3))
	p, err := price(ctx, Order{Item: "tea", Amount: 2})
	fmt.Println(p.Cents, err)
	// Output: 900 <nil>
}

// serve makes a node a shop.
func serve(ctx context.Context, bus *rolebus.Bus) {
	_, err := call.Handle(bus.Scope, "price", func(ctx context.Context, order Order) (Price, error) {
		cents, ok := catalogue[order.Item]
		if !ok {
			return Price{}, call.Error("no-such-item", order.Item) // a code for programs, a text for people
		}
		return Price{Cents: cents * order.Amount}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.AddRoles(ctx, "shop"); err != nil {
		log.Fatal(err)
	}
}

func ExampleNew() {
	bus, end := join("shop-1")
	defer end()
	ctx := context.Background()
	serve(ctx, bus)

	price, err := call.New[Order, Price](bus.Scope, "shop", "price", call.Idempotent(), call.Retry(3))
	if err != nil {
		log.Fatal(err) // a bad name or option: all of them at once
	}
	p, err := price.Call(ctx, Order{Item: "tea", Amount: 2})

	fmt.Println(p.Cents, err)
	// Output: 900 <nil>
}

// What is known of a call that failed.
func ExampleFunc() {
	bus, end := join("shop-1")
	defer end()
	ctx := context.Background()
	_, err := call.Handle(bus.Scope, "charge", func(ctx context.Context, order Order) (Receipt, error) {
		if order.Item == "milk" {
			return Receipt{}, call.Error("sold-out", "no milk today")
		}
		<-ctx.Done() // the till hangs
		return Receipt{}, ctx.Err()
	})
	if err != nil {
		log.Fatal(err)
	}

	buy := func(item string) {
		charge := call.Func[Order, Receipt](bus.Scope, "shop", "charge", call.RoundRobin(), call.Timeout(100*time.Millisecond))
		receipt, err := charge(ctx, Order{Item: item, Amount: 1})

		var remote *call.RemoteError
		var failed *call.CallError
		switch {
		case err == nil:
			fmt.Println("charged", receipt.Cents)
		case errors.As(err, &remote):
			fmt.Println("the handler says", remote.Code, remote.Message)
		case errors.As(err, &failed) && failed.MayHaveRun():
			fmt.Println("look whether it was charged:", failed)
		default:
			fmt.Println("nothing was charged:", err)
		}
	}
	buy("tea")
	if err := bus.AddRoles(ctx, "shop"); err != nil {
		log.Fatal(err)
	}
	buy("milk")
	// Output:
	// nothing was charged: rolebus: call "charge" in scope "default", role "shop": no node has the role
	// the handler says sold-out no milk today
}

func ExampleMethod_All() {
	bus, end := join("shop-1")
	defer end()
	ctx := context.Background()
	serve(ctx, bus)
	price, err := call.New[Order, Price](bus.Scope, "shop", "price")
	if err != nil {
		log.Fatal(err)
	}

	for node, answer := range price.All(ctx, Order{Item: "tea", Amount: 1}) {
		if answer.Err != nil {
			fmt.Println(node, "does not know:", answer.Err)
			continue
		}
		fmt.Println(node, "says", answer.Value.Cents)
	}
	// Output: shop-1 says 450
}

// carrier lets a propagator read and write the headers of a message, with names as they are.
type carrier nats.Header

func (c carrier) Get(key string) string { return nats.Header(c).Get(key) }
func (c carrier) Set(key, value string) { nats.Header(c).Set(key, value) }
func (c carrier) Keys() []string        { return slices.Collect(maps.Keys(c)) }

// textMap is what OpenTelemetry's propagation.TextMapCarrier is.
type textMap interface {
	Get(key string) string
	Set(key, value string)
	Keys() []string
}

// tracing stands for otel.GetTextMapPropagator().
type tracing struct{}

type spanKey struct{}

func (tracing) Inject(ctx context.Context, c textMap) {
	c.Set("traceparent", ctx.Value(spanKey{}).(string))
}

func (tracing) Extract(ctx context.Context, c textMap) context.Context {
	return context.WithValue(ctx, spanKey{}, c.Get("traceparent"))
}

// The context of a trace travels in the headers.
func ExampleInject() {
	bus, end := join("shop-1")
	defer end()
	propagator := tracing{}

	inject := call.Inject(func(ctx context.Context, h nats.Header) { propagator.Inject(ctx, carrier(h)) })
	extract := call.Extract(func(ctx context.Context, h nats.Header) context.Context { return propagator.Extract(ctx, carrier(h)) })

	ctx := context.WithValue(context.Background(), spanKey{}, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	_, err := call.Handle(bus.Scope, "span", func(ctx context.Context, _ struct{}) (string, error) {
		return fmt.Sprint(ctx.Value(spanKey{})), nil
	}, extract)
	if err != nil {
		log.Fatal(err)
	}
	if err := bus.AddRoles(ctx, "shop"); err != nil {
		log.Fatal(err)
	}
	span := call.Func[struct{}, string](bus.Scope, "shop", "span", inject)
	fmt.Println(span(ctx, struct{}{}))
	// Output: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 <nil>
}

// A process that serves until it is told to end, and then finishes what it was given.
func ExampleHandle() {
	bus, end := join("shop-1")
	defer end()
	serve(context.Background(), bus)
	sigterm, terminate := context.WithCancel(context.Background())
	terminate()

	<-sigterm.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	if err := bus.Shutdown(ctx); err != nil {
		log.Print(err)
	}
	fmt.Println(bus.Err())
	// Output: rolebus: bus is closed
}
