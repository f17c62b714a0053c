package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
)

const (
	workerEnv = "ROLEBUS_PARTITIONS_WORKER" // set: this process is a worker, and this is its workerSpec
	workers   = rolebus.Role("worker")
	ttl       = 2 * time.Second // so long nobody has the strict partitions of one that died
	drains    = 3 * time.Second // a worker that is drained takes no longer
	drain     = "drain"         // what a worker is told on its stdin
)

// workerSpec is what the story tells a process at its start.
type workerSpec struct {
	URL, Name string
	Strict    bool
}

// said is what a worker tells the story on its stdout.
type said struct {
	What      what
	Partition int
	Job       Job
	At        time.Time // by the one clock of this machine
}

type what string

const (
	begins what = "begins" // to work in a partition
	ends   what = "ends"   // to
	does   what = "does"   // has done a job
)

func workerMain(raw string) int {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole group; the story says when to go
	var spec workerSpec
	err := json.Unmarshal([]byte(raw), &spec)
	if err == nil {
		err = spec.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run works until it is drained or its stdin ends: when the story says so, and also when it dies, however it dies.
func (spec workerSpec) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	bus, err := rolebus.Connect(ctx, spec.URL, rolebus.WithNode(spec.Name), rolebus.WithTTL(ttl), rolebus.WithRoles(workers))
	if err != nil {
		return err
	}
	defer bus.Close()
	w := &worker{at: map[int]*place{}}
	if w.js, err = jetstream.New(bus.Conn()); err != nil {
		return err
	}
	go func() {
		defer cancel()
		for in := bufio.NewScanner(os.Stdin); in.Scan() && in.Text() == drain; {
			leaving, enough := context.WithTimeout(context.Background(), drains)
			defer enough()
			if err := bus.Shutdown(leaving); err != nil { // the role goes first, and with it the partitions
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	bus.OnShutdown(func(context.Context) { w.work.Wait() }) // what was begun is finished before the goodbye

	var opts []exclusive.Option
	if spec.Strict {
		opts = append(opts, exclusive.Strict(), exclusive.Handover(time.Second)) // a job takes much less
	}
	for mine := range exclusive.Partitions(ctx, bus.Scope, workers, partitions, opts...) {
		for _, p := range mine.Lost {
			w.end(p)
		}
		for _, p := range mine.Gained {
			w.begin(p, mine.Term(p))
		}
	}
	for p := range w.at {
		w.end(p)
	}
	w.work.Wait()
	return nil
}

// worker works in the partitions that are its own.
type worker struct {
	js   jetstream.JetStream
	at   map[int]*place
	work sync.WaitGroup
}

// place is the work in one partition.
type place struct {
	stop context.CancelFunc
	done chan struct{} // closed when nothing of it runs any more
}

func (w *worker) end(p int) {
	if at := w.at[p]; at != nil {
		at.stop()
	}
}

// begin works in a partition from now on: when what it has begun there before, and was to end, has ended.
func (w *worker) begin(p int, term *exclusive.Term) {
	w.end(p)
	before := w.at[p]
	ctx, stop := context.WithCancel(context.Background())
	if term != nil { // a strict one: over when another one may have it, and not only when this process hears of that
		ctx, stop = context.WithCancel(term.Context())
	}
	at := &place{stop: stop, done: make(chan struct{})}
	w.at[p] = at
	w.work.Go(func() {
		defer close(at.done)
		defer stop()
		if before != nil {
			<-before.done
		}
		if err := w.serve(ctx, p); err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "partition %d: %v\n", p, err)
		}
		if term != nil { // only now another one may begin
			late, enough := context.WithTimeout(context.Background(), drains)
			defer enough()
			_ = term.Resign(late) // what is not confirmed ends by itself
		}
	})
}

// serve does the jobs of a partition, one after another, until ctx is over. What it has begun it ends.
func (w *worker) serve(ctx context.Context, p int) error {
	tell(said{What: begins, Partition: p})
	defer tell(said{What: ends, Partition: p})
	jobs, err := w.js.Consumer(ctx, stream, "partition-"+strconv.Itoa(p))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		msg, err := next(ctx, jobs)
		if err != nil || msg == nil {
			continue // there was none for a while, or the server is away
		}
		var job Job
		if err := json.Unmarshal(msg.Data(), &job); err != nil {
			return err
		}
		job.do()
		tell(said{What: does, Partition: p, Job: job})
		_ = msg.Ack() // or it is done again
	}
	return nil
}

// next waits for the next job.
func next(ctx context.Context, jobs jetstream.Consumer) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	msg, err := jobs.Next(jetstream.FetchContext(ctx))
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return msg, err
}

var telling sync.Mutex

func tell(s said) {
	telling.Lock()
	defer telling.Unlock()
	s.At = time.Now()
	_ = json.NewEncoder(os.Stdout).Encode(s)
}
