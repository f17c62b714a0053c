//go:build linux

package exclusive_test

import "github.com/rolebus/rolebus/internal/skew"

// machine is the clock of what a child process takes for its machine.
type machine = skew.Clock

func newMachine(dir string) (*machine, error) { return skew.New(dir) }

// attachClock makes this process, a child, follow its machine's clock.
func attachClock() error { return skew.Attach() }

const clocksMove = true
