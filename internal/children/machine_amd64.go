//go:build linux

package children

import "github.com/rolebus/rolebus/internal/skew"

// Machine is the clock of what a child takes for its machine.
type Machine = skew.Clock

// ClocksMove says whether clocks can be moved here.
const ClocksMove = true

func newMachine(dir string) (*Machine, error) { return skew.New(dir) }

// Attach makes this process, a child, follow its machine's clock. It comes before all else.
func Attach() error { return skew.Attach() }
