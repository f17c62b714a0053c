// Command sharding shares shards among hosts without a leader: each host computes from its own snapshot which shards
// are its, and says so in its roles. A role can be any value: here it is the pair ["shard", 3].
//
//	go run ./examples/sharding                                with a server of its own
//	go run ./examples/sharding -url nats://127.0.0.1:4222     there, in a bucket of its own that is removed at the end
//
// It shows who owns which shard while hosts come and go, and ends by itself. Where to look: host.go.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

func main() {
	url := flag.String("url", "", "NATS server, such as nats://127.0.0.1:4222; without it one is started")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "sharding: %q: no arguments are taken, only flags\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *url)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sharding:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if url == "" {
		server, err := embedded.Start()
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.URL()
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()

	// The table is what somebody sees who only looks on. The hosts are in one process here, each with its own Bus.
	bucket := "rolebus-sharding-" + strings.ToLower(rand.Text()[:8])
	defer func() { err = errors.Join(err, removeBucket(nc, bucket)) }()
	if err := rolebus.Provision(ctx, nc, rolebus.WithBucket(bucket)); err != nil {
		return err
	}
	observer, err := rolebus.New(ctx, nc, rolebus.WithBucket(bucket), rolebus.WithObserver())
	if err != nil {
		return err
	}
	defer observer.Close()
	fleet := map[string]*host{}
	defer func() {
		for _, h := range fleet {
			err = errors.Join(err, h.leave())
		}
	}()

	table := &table{}
	for _, step := range []struct {
		told          string
		joins, leaves []string
	}{
		{"three hosts joined", []string{"host-1", "host-2", "host-3"}, nil},
		{"host-4 joined", []string{"host-4"}, nil},
		{"host-2 left", nil, []string{"host-2"}},
	} {
		began := time.Now()
		for _, name := range step.joins {
			if fleet[name], err = startHost(ctx, url, bucket, name); err != nil {
				delete(fleet, name)
				return err
			}
		}
		for _, name := range step.leaves {
			h := fleet[name]
			delete(fleet, name)
			if err := h.leave(); err != nil {
				return err
			}
		}
		if err := settled(ctx, observer.Scope, len(fleet)); err != nil {
			return fmt.Errorf("%s: %w", step.told, err)
		}
		table.print(fmt.Sprintf("%s; settled after %v", step.told, time.Since(began).Round(100*time.Microsecond)), observer.Snapshot())
	}
	return nil
}

// settled waits until the snapshot shows so many hosts, and each shard with its owner and nobody else.
func settled(ctx context.Context, scope *rolebus.Scope, hosts int) error {
	for range scope.Watch(ctx) {
		snap := scope.Snapshot()
		all := snap.Nodes(hostRole)
		wrong := slices.ContainsFunc(shardRoles, func(role rolebus.Role) bool {
			holders := snap.Nodes(role)
			return holders.Len() != 1 || holders.At(0) != all.Owner(string(role))
		})
		if all.Len() == hosts && !wrong {
			return nil
		}
	}
	return fmt.Errorf("the shards have not settled: %w", context.Cause(ctx))
}

// table prints who owns which shard, and remembers it to mark what moved.
type table struct{ owned map[string]bool }

func (t *table) print(title string, snap *rolebus.Snapshot) {
	fmt.Printf("%s\n\n  shard    ", title)
	for shard := range shardRoles {
		fmt.Printf("%3d", shard)
	}
	fmt.Println()
	now, moved := map[string]bool{}, 0
	for n := range snap.Nodes(hostRole).All() {
		fmt.Printf("  %-9s", n)
		for _, role := range shardRoles {
			key, mark := n.Name()+" "+string(role), "."
			switch {
			case n.Has(role) && (t.owned[key] || t.owned == nil):
				mark = "o"
			case n.Has(role):
				mark = "+"
				moved++
			}
			now[key] = n.Has(role)
			fmt.Printf("%3s", mark)
		}
		fmt.Println()
	}
	if t.owned != nil {
		fmt.Printf("\n  %d of %d shards moved (+)\n", moved, len(shardRoles))
	}
	fmt.Println()
	t.owned = now
}

func removeBucket(nc *nats.Conn, bucket string) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := js.DeleteKeyValue(ctx, bucket); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("remove the bucket %s: %w", bucket, err)
	}
	return nil
}
