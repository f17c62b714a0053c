package exclusive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/exclusive"
)

// The Go code of docs/EXCLUSIVE.md, and the recipe of README.md, stand here, too, word for word: TestCodeInDocumentsIsTested compares them.

// Report is something that a fence guards: what is stored has the token of the term in which it was written.
type Report struct {
	Token uint64
	Body  string
}

type lines struct{ text []string }

// Append stands for a store that refuses smaller tokens.
func (l *lines) Append(_ context.Context, token uint64, line string) error {
	l.text = append(l.text, line)
	if len(l.text) == 3 {
		return errors.New("that is enough")
	}
	return nil
}

var (
	errOldTerm = errors.New("a later term has written already")
	errTooLate = errors.New("the term does not last for long enough")
)

// alone makes a node with a server of its own.
func alone(node string) (bus *rolebus.Bus, end func()) {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	bus, err = rolebus.Connect(context.Background(), server.URL(), rolebus.WithNode(node), rolebus.WithTTL(time.Second)) // a new bucket is doubted for a TTL
	if err != nil {
		log.Fatal(err)
	}
	return bus, func() { bus.Close(); server.Close() }
}

// One process holds the name here; the others, which wait for their turn, are elsewhere.
func ExampleRun() {
	bus, end := alone("node-1")
	defer end()
	ctx := context.Background()
	report := &lines{}
	next := func() string { return "a line" }

	err := exclusive.Run(ctx, bus.Scope, "report", func(ctx context.Context, token uint64) error {
		for ctx.Err() == nil {
			if err := report.Append(ctx, token, next()); err != nil { // refuses a smaller token
				return err
			}
		}
		return nil
	})
	fmt.Println(len(report.text), "lines:", err)
	// Output: 3 lines: that is enough
}

func ExampleCampaign() {
	bus, end := alone("node-1")
	defer end()
	ctx := context.Background()
	migrate := func(context.Context, uint64) { fmt.Println("migrated once") }

	term, err := exclusive.Campaign(ctx, bus.Scope, "migration") // waits until this process holds it
	if err != nil {
		log.Fatal(err)
	}
	migrate(term.Context(), term.Token())
	if err := term.Resign(ctx); err != nil { // at once somebody else may hold it
		log.Print(err)
	}
	fmt.Println(context.Cause(term.Context()))
	// Output:
	// migrated once
	// rolebus: term was given up
}

func ExampleTerm_Left() {
	send := func(context.Context, string) error { fmt.Println("sent"); return nil }
	order := "tea"
	pay := func(term *exclusive.Term) error {
		if term.Left() < 2*time.Second { // it takes no longer
			return errTooLate // also while the term lasts: its context has no cause yet
		}
		return send(term.Context(), order)
	}
	_ = pay // with a term
}

func ExampleSeats() {
	ctx, bus := context.Background(), new(rolebus.Bus)
	download := func(ctx context.Context, token uint64) error { <-ctx.Done(); return nil }
	start := func() error {
		err := exclusive.Run(ctx, bus.Scope, "download", download,
			exclusive.Seats(4),
			exclusive.Among("worker"),
			exclusive.Prefer(func(n *rolebus.Node) int {
				if n.Meta("zone") == "eu-1" {
					return 1
				}
				return 0
			}))
		return err
	}
	_ = start // when there is a bus
}

func ExampleHolder() {
	bus, end := alone("node-1")
	defer end()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := exclusive.Campaign(ctx, bus.Scope, "report"); err != nil {
		log.Fatal(err)
	}
	cancel() // here nothing is to be waited for

	if held, ok := exclusive.Holder(bus.Scope, "report"); ok {
		fmt.Println(held.Node, "holds it since", held.Since, "with the token", held.Token)
	}
	for held := range exclusive.Watch(ctx, bus.Scope, "report") {
		if held.Node == "" {
			fmt.Println("nobody holds it")
			continue
		}
		fmt.Println(held.Node, "holds it")
	}
}

func ExamplePartitions() {
	bus, end := alone("node-1")
	defer end()
	ctx, cancel := context.WithCancel(context.Background())
	if err := bus.AddRoles(ctx, "worker"); err != nil {
		log.Fatal(err)
	}
	started := 0
	stop := func(int) {}
	start := func(int) {
		if started++; started == 64 {
			cancel() // it has seen all
		}
	}

	for mine := range exclusive.Partitions(ctx, bus.Scope, "worker", 64) {
		for _, p := range mine.Lost {
			stop(p)
		}
		for _, p := range mine.Gained {
			start(p)
		}
	}
	fmt.Println("owned", started)
	// Output: owned 64
}

func ExampleStrict() {
	bus, end := alone("node-1")
	defer end()
	ctx, cancel := context.WithCancel(context.Background())
	if err := bus.AddRoles(ctx, "worker"); err != nil {
		log.Fatal(err)
	}
	var began atomic.Int32
	work := func(ctx context.Context, _ int, _ uint64, leaving <-chan struct{}) {
		if began.Add(1) == 64 {
			cancel() // it has seen all
		}
		<-leaving
	}

	for mine := range exclusive.Partitions(ctx, bus.Scope, "worker", 64, exclusive.Strict(), exclusive.Handover(time.Second)) {
		for _, p := range mine.Gained {
			term := mine.Term(p)
			go func() {
				work(term.Context(), p, term.Token(), term.Leaving()) // until the term is over, or to be given up
				_ = term.Resign(ctx)                                  // now its new owner may begin
			}()
		}
	}
	fmt.Println("held", began.Load())
	// Output: held 64
}

// A fence in a key-value store that compares and sets.
func Example_fenceInKeyValue() {
	write := func(ctx context.Context, kv jetstream.KeyValue, token uint64, body string) error {
		entry, err := kv.Get(ctx, "report")
		if err != nil {
			return err
		}
		var stored Report
		if err := json.Unmarshal(entry.Value(), &stored); err != nil {
			return err
		}
		if stored.Token > token {
			return errOldTerm
		}
		changed, err := json.Marshal(Report{Token: token, Body: body})
		if err != nil {
			return err
		}
		_, err = kv.Update(ctx, "report", changed, entry.Revision()) // fails if somebody wrote since
		return err
	}

	bus, end := alone("node-1")
	defer end()
	ctx := context.Background()
	js, err := jetstream.New(bus.Conn())
	if err != nil {
		log.Fatal(err)
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "reports"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := kv.Create(ctx, "report", []byte(`{}`)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(write(ctx, kv, 17, "by the first leader"))
	fmt.Println(write(ctx, kv, 18, "by the second one"))
	fmt.Println(write(ctx, kv, 17, "by the first one, late"))
	// Output:
	// <nil>
	// <nil>
	// a later term has written already
}

// A fence in a stream: each message says which one it follows.
func Example_fenceInStream() {
	bus, end := alone("node-1")
	defer end()
	ctx := context.Background()
	js, err := jetstream.New(bus.Conn())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "report", Subjects: []string{"report.lines"}}); err != nil {
		log.Fatal(err)
	}
	write := func(token, last uint64, line []byte) (uint64, error) {
		err := func() error {
			msg := nats.NewMsg("report.lines")
			msg.Header.Set("Token", strconv.FormatUint(token, 10))
			msg.Data = line
			ack, err := js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(last))
			if err != nil {
				return err // of a wrong last sequence: somebody else wrote; if with a larger token, this term is over
			}
			last = ack.Sequence
			return nil
		}()
		return last, err
	}
	first, err := write(1, 0, []byte("the first term begins"))
	fmt.Println(first, err)
	second, err := write(2, first, []byte("the second term begins")) // read before: what was last
	fmt.Println(second, err)
	_, err = write(1, first, []byte("by the first leader, late"))
	fmt.Println(err != nil)
	// Output:
	// 1 <nil>
	// 2 <nil>
	// true
}
