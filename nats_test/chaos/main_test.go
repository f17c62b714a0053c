//go:build linux

package chaos_test

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
	seedFlag   = flag.Uint64("seed", 0, "the seed of the first run; 0: the fixed short ones")
	forFlag    = flag.Duration("for", time.Minute, "how long faults are made in a run, or the soak lasts")
	runsFlag   = flag.Int("runs", 1, "so many seeds, one after another")
	faultsFlag = flag.String("faults", "", "only these kinds or classes of faults, with commas between them")
	keepFlag   = flag.Bool("keep", false, "keep the work directory")
	soakFlag   = flag.Bool("soak", false, "a long run without damage, which looks for what grows")
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
