// Command first is the program of README.md: a member that prints who else is there. It takes the URL of a NATS server from
// the environment variable NATS_URL.
//
//	NATS_URL=nats://127.0.0.1:4222 go run ./examples/first
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/rolebus/rolebus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bus, err := rolebus.Connect(ctx, cmp.Or(os.Getenv("NATS_URL"), "nats://localhost:4222"),
		rolebus.WithRoles("api"),
		rolebus.WithMeta(map[string]string{"addr": "10.0.0.7:8080"})) // whatever others should know of it
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	// Who is there now, and then again whenever that changes, or becomes certain.
	for snap := range bus.Snapshots(ctx) {
		fmt.Println(bus.Name(), "sees", snap.Nodes("api"))
	}
}
