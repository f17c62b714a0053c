//go:build linux && !amd64

package exclusive_test

import (
	"errors"
	"os"
	"time"
)

// machine is nothing here: clocks can be moved on amd64 only, and so there are no faults of clocks.
type machine struct{}

func newMachine(string) (*machine, error) { return &machine{}, nil }
func attachClock() error                  { return nil }

func (*machine) Env() string                            { return "ROLEBUS_SKEW=" }
func (*machine) Step(time.Duration)                     {}
func (*machine) Sleep(*os.Process, time.Duration) error { return errors.ErrUnsupported }

const clocksMove = false
