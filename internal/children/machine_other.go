//go:build linux && !amd64

package children

import (
	"errors"
	"os"
	"time"
)

// Machine is nothing here: clocks can be moved on amd64 only.
type Machine struct{}

// ClocksMove says whether clocks can be moved here.
const ClocksMove = false

func newMachine(string) (*Machine, error) { return &Machine{}, nil }

// Attach is for where clocks move.
func Attach() error { return nil }

// Env is what a child needs in its environment: nothing.
func (*Machine) Env() string { return "ROLEBUS_SKEW=" }

// Step does nothing.
func (*Machine) Step(time.Duration) {}

// Sleep is not supported.
func (*Machine) Sleep(*os.Process, time.Duration) error { return errors.ErrUnsupported }
