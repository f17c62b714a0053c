// Package death_test kills, freezes and restarts real processes, and sees by the reports of all the others how soon they
// know, and that nobody is ever reported lost who is not.
//
//	go test ./nats_test/death -v -mode=events -processes=50 -kills=30
//	go test ./nats_test/death -v -mode=churn -processes=20 -for=10m -spin=2 -timeout=20m
//
// One process is the server, each node is another; all but the server's have the package's default options. Without a
// mode each is run briefly.
package death_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rolebus/rolebus/internal/atonce"
	"go.uber.org/goleak"
)

var (
	modeFlag  = flag.String("mode", "", "probes: a server that tells nothing; events: one that tells who went; floor: as events, but bare NATS clients; freeze: SIGSTOP instead of SIGKILL; many: most of a fleet at once, with and without news; host: five are stopped at once; reset: one connection is broken again and again; churn: everything moves, and those left alone must stay listed")
	processes = flag.Int("processes", 6, "node processes")
	kills     = flag.Int("kills", 2, "how many of them are killed or frozen, one after another")
	lasts     = flag.Duration("for", 3*time.Second, "churn: how long")
	spinners  = flag.Int("spin", 0, "churn: processes beside the fleet that use a core each")
	ttl       = flag.Duration("ttl", 0, "the nodes' TTL; 0 is the package's default")
)

// long is true with the build tag of that name.
var long bool

func TestMain(m *testing.M) {
	if role := os.Getenv(roleOfProcess); role != "" {
		if err := runProcess(role); err != nil {
			fmt.Fprintln(os.Stderr, role, "process:", err)
			os.Exit(1)
		}
		return
	}
	atonce.Tests(8, 2) // they mostly wait; all of them, without the race detector
	goleak.VerifyTestMain(m)
}

// chosen says whether a test is to run: if it measures at length, alone, else all of them, some at a time.
func chosen(t *testing.T, mode string) bool {
	if *modeFlag == "" {
		t.Parallel()
	}
	return *modeFlag == "" || *modeFlag == mode
}
