//go:build linux

package selfformed_test

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
	formationsFlag = flag.Int("formations", 2, "how many clusters are formed")
	seedFlag       = flag.Uint64("seed", 1, "the seed of the first run of faults, and of the formations")
	seedsFlag      = flag.Int("seeds", 1, "so many seeds, one after another")
	forFlag        = flag.Duration("for", time.Second, "how long faults are made in a run")
	faultsFlag     = flag.String("faults", "", "only these faults, with commas between them")
	keepFlag       = flag.String("keep", "", "keep what the processes store and log in this directory")
)

// flags are ours, as they were given: for a test that runs again in a network of its own.
func flags() []string {
	list := []string{"-test.timeout=0"} // who started it has one
	flag.Visit(func(f *flag.Flag) {
		if flagsOfOurs[f.Name] {
			list = append(list, "-"+f.Name+"="+f.Value.String())
		}
	})
	return list
}

var flagsOfOurs = map[string]bool{"formations": true, "seed": true, "seeds": true, "for": true, "faults": true, "keep": true}

func TestMain(m *testing.M) {
	if part := os.Getenv(childVariable); part != "" {
		if err := runChild(); err != nil {
			fmt.Fprintln(os.Stderr, "process:", err)
			os.Exit(1)
		}
		return
	}
	atonce.Tests(2, 1) // each in a network of its own; to measure, say -parallel 1
	goleak.VerifyTestMain(m)
}
