//go:build linux

package exclusive_test

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
	seedFlag   = flag.Uint64("seed", 1, "the seed of the first run")
	seedsFlag  = flag.Int("seeds", 2, "so many seeds, one after another: of two one has a single server, and one a cluster of three")
	forFlag    = flag.Duration("for", 3*time.Second, "how long faults are made in a run")
	faultsFlag = flag.String("faults", "", "only these faults, with commas between them")
	keepFlag   = flag.String("keep", "", "keep what the processes store and log in this directory")
)

func TestMain(m *testing.M) {
	if part := os.Getenv(childVariable); part != "" {
		if err := runChild(part); err != nil {
			fmt.Fprintln(os.Stderr, part, "process:", err)
			os.Exit(1)
		}
		return
	}
	atonce.Tests(3, 2) // fleets
	goleak.VerifyTestMain(m)
}
