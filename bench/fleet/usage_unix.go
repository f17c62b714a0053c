//go:build unix

package main

import (
	"fmt"
	"syscall"
	"time"
)

// cpuTime is how long this process has computed.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// checkOpenFiles sees to it that this many files and connections may be open in one process. Go programs raise their own
// limit as far as they may when they start, so there is nothing to do here but to look.
func checkOpenFiles(need uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if have := uint64(limit.Max); have < need {
		return fmt.Errorf("a process may have %d files open, and %d are needed: raise the hard limit (ulimit -Hn, or LimitNOFILE "+
			"in systemd), ask for fewer by -buses, or use -shared", have, need)
	}
	return nil
}
