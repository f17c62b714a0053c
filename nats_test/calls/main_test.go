package calls_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rolebus/rolebus/internal/atonce"
	"go.uber.org/goleak"
)

const fewCalls = 6000

var (
	callsFlag = flag.Int("calls", fewCalls, "how many calls are made under kills, of each kind")
	seedFlag  = flag.Uint64("seed", 0, "the seed of what happens to the nodes; 0: another each time")
)

// patience is how long anything may take that is not measured.
const patience = time.Minute

// childVariable is set where this binary runs again: it says as what.
const childVariable = "ROLEBUS_CALLS_PROCESS"

// children are the main functions of such processes.
var children = map[string]func() error{}

func TestMain(m *testing.M) {
	if child := os.Getenv(childVariable); child != "" {
		if err := children[child](); err != nil {
			fmt.Fprintln(os.Stderr, child, "process:", err)
			os.Exit(1)
		}
		return
	}
	atonce.Tests(4, 2)
	goleak.VerifyTestMain(m)
}
