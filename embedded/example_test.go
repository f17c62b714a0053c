package embedded_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus/embedded"
)

func Example() {
	s, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	nc, err := nats.Connect(s.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	info, err := js.AccountInfo(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("streams:", info.Streams)
	// Output: streams: 0
}

// A program that keeps its data, on a port that others know.
func ExampleStart_options() {
	s, err := embedded.Start(
		embedded.WithPort(4222),
		embedded.WithStoreDir("/var/lib/bus"),
		embedded.WithName("bus-1"),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
}
