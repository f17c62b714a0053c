package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
)

// witness is an observer of the bus. All the time it looks whether a process that lives is missing in the snapshot.
type witness struct {
	bus     *rolebus.Bus
	js      jetstream.JetStream
	looking sync.WaitGroup
	stop    context.CancelFunc
	began   time.Time

	mu        sync.Mutex
	of        map[string]*sight // by name
	last      *rolebus.Snapshot
	looks     int
	snapshots int
	expected  int // how many processes were started
	released  int // and how many were killed, or told to go
	came      int // how many of those were seen to come
	went      int // and to go
	missing   []string
}

// sight is what is seen of a process.
type sight struct {
	expected    bool   // it was started, and will have its role
	incarnation uint64 // of the life that was seen last
	lives       bool   // it has its role, and was not told to go, nor killed
	listed      bool   // the snapshot says that it has it
	ends        bool   // it was told to go, or killed, and was not seen to go
	released    time.Time
	gone        time.Duration // how long after that it was listed
}

const lookEvery = time.Millisecond

// newWitness connects to any of the servers, which tell of each other, and begins to look.
func newWitness(ctx context.Context, url string) (*witness, error) {
	bus, err := rolebus.Connect(ctx, url, rolebus.WithObserver())
	if err != nil {
		return nil, err
	}
	w := &witness{bus: bus, began: time.Now(), of: map[string]*sight{}}
	if w.js, err = jetstream.New(bus.Conn()); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(context.Background())
	w.looking.Go(func() {
		for range bus.Snapshots(ctx) { // whenever there is a new one
			w.look()
		}
	})
	w.looking.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for ctx.Err() == nil { // and at any moment, as a program does
			w.look()
			<-tick.C
		}
	})
	return w, nil
}

func (w *witness) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	snap := w.bus.Snapshot()
	w.looks++
	if snap != w.last {
		w.last = snap
		w.snapshots++
	}
	workers := snap.Nodes(worker)
	for name, s := range w.of {
		n, was := workers.Find(name), s.listed
		s.listed = n != nil
		switch {
		case s.listed && s.expected && n.Incarnation() > s.incarnation:
			w.came++
			s.expected, s.lives, s.incarnation = false, true, n.Incarnation()
		case !s.listed && was && s.lives:
			w.missing = append(w.missing, fmt.Sprintf("that of %s %v after the beginning", name, time.Since(w.began).Round(time.Millisecond)))
		case !s.listed && was: // one that was killed may be doubted first, and believed again, until its lease ends
			s.gone = time.Since(s.released)
			if s.ends {
				w.went++
				s.ends = false
			}
		}
	}
}

// expect is called when processes are started: once their roles are there they must stay.
func (w *witness) expect(names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		if w.of[name] == nil {
			w.of[name] = &sight{}
		}
		w.of[name].expected = true
		w.expected++
	}
}

// release is called before a process is killed, or told to go.
func (w *witness) release(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.of[name]
	s.lives, s.ends, s.released = false, true, time.Now()
	w.released++
}

// sees says whether just these processes have their role, those that live now.
func (w *witness) sees(names ...string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, s := range w.of {
		if should := slices.Contains(names, name); s.listed != should || should && !s.lives {
			return false
		}
	}
	return true
}

// gone is how long after it was killed, or told to go, a process had no role any more.
func (w *witness) gone(name string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of[name].gone
}

// stored are the servers that have all that the bus stores, sorted; none if nobody says so.
func (w *witness) stored(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	stream, err := w.js.Stream(ctx, "KV_"+w.bus.Bucket())
	if err != nil {
		return nil
	}
	servers := stream.CachedInfo().Cluster
	names := []string{servers.Leader}
	for _, r := range servers.Replicas {
		if r.Current {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// testify tells what was seen. The error says what should not have been.
func (w *witness) testify() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.missing) > 0 {
		return fmt.Errorf("roles were missing of processes that live: %s", strings.Join(w.missing, ", "))
	}
	if w.came != w.expected || w.went != w.released {
		return fmt.Errorf("%d processes started and %d ended, but %d roles came and %d went", w.expected, w.released, w.came, w.went)
	}
	_, err := fmt.Printf("\nlooked at the roles %d times in %.1f s, in %d snapshots:\n"+
		"of %d processes that started %d were seen to come, of %d that ended %d to go;\n"+
		"the role of a process that lives was missing 0 times\n",
		w.looks, time.Since(w.began).Seconds(), w.snapshots, w.expected, w.came, w.released, w.went)
	return err
}

// close ends the looking.
func (w *witness) close() error {
	w.stop()
	w.looking.Wait()
	return w.bus.Close()
}
