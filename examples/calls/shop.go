package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
)

// shop is the role of those that are called.
const shop = rolebus.Role("shop")

// Order is what both methods are given.
type Order struct {
	ID   int
	Item string
}

// Price is the answer of "price". To ask twice does no harm.
type Price struct{ Cents int }

// Receipt is the answer of "charge". To charge twice does.
type Receipt struct {
	Order int
	Cents int
}

// cents is the right price, by which the caller checks an answer.
func (o Order) cents() int {
	sum := fnv.New32a()
	sum.Write([]byte(o.Item))
	return 100 + int(sum.Sum32()%900)
}

const (
	shopEnv    = "ROLEBUS_CALLS_SHOP" // set: this process is a shop, and this is its shopSpec
	shopDrains = 3 * time.Second      // more than a call takes

	// What a shop says on its stdout.
	inBooks = "charged %d\n" // the number of the order: a charge was made
	holds   = "holds\n"      // it was told to: from now on it answers no charge that it makes
	hasLeft = "served %d, refused %d\n"
)

// shopSpec is what the story tells a process at its start.
type shopSpec struct{ URL, Bucket, Name string }

func shopMain(raw string) int {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole group; the story says when to go
	var spec shopSpec
	err := json.Unmarshal([]byte(raw), &spec)
	if err == nil {
		err = runShop(spec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runShop serves until stdin ends: when the story says so, and also when it dies, however it dies. Then it drains.
func runShop(spec shopSpec) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var holding atomic.Bool // the story wants it in the middle of a charge
	go func() {
		defer cancel()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			holding.Store(true)
			fmt.Print(holds)
		}
	}()
	bus, err := rolebus.Connect(ctx, spec.URL, rolebus.WithBucket(spec.Bucket), rolebus.WithNode(spec.Name))
	if err != nil {
		return err
	}
	defer bus.Close()

	// It handles the methods first and has the role then: who sees the role can call at once.
	price, err := call.Handle(bus.Scope, "price", func(_ context.Context, o Order) (Price, error) {
		work()
		return Price{o.cents()}, nil
	})
	if err != nil {
		return err
	}
	charge, err := call.Handle(bus.Scope, "charge", func(ctx context.Context, o Order) (Receipt, error) {
		work()
		fmt.Printf(inBooks, o.ID) // written is done: this outlives the process
		if holding.Load() {
			<-ctx.Done()
		}
		work()
		return Receipt{o.ID, o.cents()}, nil
	})
	if err != nil {
		return err
	}
	if err := bus.AddRoles(ctx, shop); err != nil {
		return err
	}

	select {
	case <-ctx.Done():
	case <-bus.Done(): // a newer process has this node's name
		return bus.Err()
	}
	// The role goes, then what is new is refused, and what was accepted is finished; then comes the goodbye.
	leaving, stop := context.WithTimeout(context.Background(), shopDrains)
	defer stop()
	err = bus.Shutdown(leaving)
	p, c := price.Stats(), charge.Stats()
	fmt.Printf(hasLeft, p.Requests+c.Requests, p.Refused+c.Refused)
	return err
}

// work takes as long as a look into a database.
func work() { time.Sleep(4 * time.Millisecond) }
