//go:build linux

package exclusive_test

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// instant is a time on the machine's monotonic clock, which all processes share, whatever is done to the clocks that they see.
type instant int64

func now() instant {
	const monotonic = 1
	var ts syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic(errno)
	}
	return instant(ts.Nano())
}

func (i instant) add(d time.Duration) instant       { return i + instant(d) }
func (i instant) since(other instant) time.Duration { return time.Duration(i - other) }

// after tells an instant as seconds of the run.
func (i instant) after(start instant) string { return fmt.Sprintf("%8.3f", i.since(start).Seconds()) }

// span is from one instant to a later one, both included.
type span struct{ from, to instant }

func (s span) meets(other span) bool { return s.from <= other.to && other.from <= s.to }

const forever = instant(1<<63 - 1)
