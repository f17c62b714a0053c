//go:build linux

package chaos_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

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

// atOnce is how many fleets there are at once, unless -parallel says otherwise: more than there are cores, as they mostly wait.
var atOnce = 3

func TestMain(m *testing.M) {
	if part := os.Getenv(childVariable); part != "" {
		if err := runChild(part); err != nil {
			fmt.Fprintln(os.Stderr, part, "process:", err)
			os.Exit(1)
		}
		return
	}
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
