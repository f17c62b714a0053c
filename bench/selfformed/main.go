// Command selfformed measures what a process costs that is part of its own NATS: memory, goroutines and CPU while nothing happens, of a process alone
// with embedded.Start, of members of a cluster of three and of five, of a spare, and of a process without any server.
//
//	go run ./bench/selfformed            # a minute and a half for each line; docs/CLUSTER.md has the table
//	go run ./bench/selfformed -for 10s
//
// Each process is a real one, started anew for each line, and the one that starts them uses no time meanwhile.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

const settled = 20 * time.Second // until what a start leaves behind is over

func main() {
	if told := os.Getenv(childVariable); told != "" {
		exit(child(told))
	}
	long := flag.Duration("for", 30*time.Second, "how long each is looked at")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(measure(ctx, *long))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "selfformed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// lineup is which processes run at once.
type lineup struct {
	size, processes int // size 0: no cluster
	server          bool
	what            string // which of them are looked at
}

func measure(ctx context.Context, long time.Duration) error {
	fmt.Println("| process | RSS | Go heap | goroutines | CPU while idle, of one core |")
	fmt.Println("|---|---|---|---|---|")
	for _, l := range []lineup{
		{0, 1, false, "without a server"}, {0, 1, true, "alone, with `Start`"},
		{3, 4, true, "one of three"}, {3, 4, true, "a spare of three"}, {5, 5, true, "one of five"},
	} {
		usages, err := l.measure(ctx, long)
		if err != nil {
			return fmt.Errorf("%s: %w", l.what, err)
		}
		slices.SortFunc(usages, func(a, b usage) int { return int(a.CPU - b.CPU) })
		u := usages[len(usages)/2]
		fmt.Printf("| %s | %d MB | %.1f MB | %d | %.2f %% |\n", l.what, u.RSS>>20, float64(u.Heap)/(1<<20), u.Goroutines, 100*u.CPU.Seconds()/long.Seconds())
	}
	return nil
}

// measure returns what each of those costs that are looked at.
func (l lineup) measure(ctx context.Context, long time.Duration) (usages []usage, err error) {
	dir, err := os.MkdirTemp("", "selfformed-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var all []*process
	defer func() {
		for _, p := range all {
			p.stop()
		}
	}()
	for i := range l.processes {
		p, err := start(told{Name: fmt.Sprintf("p%d", i), Dir: dir, Size: l.size, Server: l.server, For: long, Settled: settled})
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	for _, p := range all {
		u, err := p.usage(ctx)
		switch {
		case err != nil:
			return nil, err
		case l.size == 0, u.Spare == (l.what == "a spare of three"):
			usages = append(usages, u)
		}
	}
	if len(usages) == 0 {
		return nil, fmt.Errorf("none of %d processes is that", l.processes)
	}
	return usages, nil
}

// usage is what a process costs.
type usage struct {
	Spare      bool
	RSS, Heap  int64
	Goroutines int
	CPU        time.Duration
}

func (u usage) String() string { text, _ := json.Marshal(u); return string(text) }
