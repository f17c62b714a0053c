//go:build long

package nats_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

var grid = flag.Bool("grid", false, "TestRoundTripGrid measures more TTLs and round trips, for longer, and prints them as a table")

// far connects a bus over a link with a round trip, and returns how long that took.
func far(t *testing.T, srv *rolebustest.Server, patience, trip, ttl time.Duration) (*rolebus.Bus, time.Duration, error) {
	t.Helper()
	link := srv.Link()
	link.Delay(trip / 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	b, err := rolebus.Connect(ctx, link.URL(), rolebus.WithNode(fmt.Sprint("far-", trip, "-", ttl)), rolebus.WithTTL(ttl), rolebus.WithRoles("x"),
		rolebus.WithProbeInterval(0), rolebus.WithNATS(nats.Timeout(30*time.Second)))
	if err == nil {
		t.Cleanup(func() { _ = b.Close() })
	}
	return b, time.Since(began), err
}

// A lease needs room for a few round trips. Where it has that a process joins, however far away, and stays; where it has not, the
// error says so.
func TestRoundTripGrid(t *testing.T) {
	t.Parallel()
	ttls := []time.Duration{3 * time.Second, 5 * time.Second}
	trips := []time.Duration{400 * time.Millisecond, 600 * time.Millisecond}
	stay, patience := 3, 5*time.Minute
	if *grid {
		ttls = []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second}
		trips = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond,
			400 * time.Millisecond, 600 * time.Millisecond, 800 * time.Millisecond, 1200 * time.Millisecond}
		stay, patience = 10, time.Minute
	}
	srv := rolebustest.NewServer(t)
	var mu sync.Mutex
	cells := map[[2]time.Duration]string{}
	var wg sync.WaitGroup
	for _, ttl := range ttls {
		for _, trip := range trips {
			wg.Go(func() {
				b, took, err := far(t, srv, patience, trip, ttl)
				cell := fmt.Sprintf("%.1f s", took.Seconds())
				if err == nil {
					lease := b.LeaseContext()
					select {
					case <-lease.Done():
						cell += ", leases lost"
					case <-time.After(time.Duration(stay) * ttl):
					}
				} else if strings.Contains(err.Error(), "is too long for a TTL of") {
					cell = "refused"
				} else {
					cell = err.Error()
				}
				mu.Lock()
				cells[[2]time.Duration{ttl, trip}] = cell
				mu.Unlock()
				if !*grid && err != nil {
					t.Errorf("TTL %v, round trip %v: %v", ttl, trip, err)
				}
			})
		}
	}
	wg.Wait()
	if *grid {
		fmt.Fprint(os.Stdout, table(ttls, trips, cells))
	}
}

// table prints the grid as docs have it.
func table(ttls, trips []time.Duration, cells map[[2]time.Duration]string) string {
	var b strings.Builder
	b.WriteString("| TTL |")
	for _, trip := range trips {
		fmt.Fprintf(&b, " %v |", trip)
	}
	b.WriteString("\n|---" + strings.Repeat("|---", len(trips)) + "|\n")
	for _, ttl := range ttls {
		fmt.Fprintf(&b, "| %v |", ttl)
		for _, trip := range trips {
			fmt.Fprintf(&b, " %s |", cells[[2]time.Duration{ttl, trip}])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Where there is no room for the round trip joining ends, and the error says what would help, although ctx would wait for long.
func TestARoundTripThatIsTooLongIsTold(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	_, _, err := far(t, srv, 5*time.Minute, 600*time.Millisecond, time.Second)
	require.ErrorContains(t, err, "is too long for a TTL of 1s: take one of at least")
	require.ErrorContains(t, err, "WithTTL")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "it does not wait for ctx")
}
