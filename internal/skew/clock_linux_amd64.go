package skew

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Variable is the environment variable that tells a child where its clock is.
const Variable = "ROLEBUS_SKEW"

// size is that of the memory that parent and child share: a word that says which slot counts, and slots. The parent writes a
// slot that does not count and then the word, so that the child never sees half a step.
const (
	size  = 4096
	slots = size / int(unsafe.Sizeof(slot{})) // the first one is the word's
)

// slot is how far clocks are ahead. Both parts are added one by one: the nanoseconds are never negative.
type slot struct{ wallSeconds, wallNanos, monoSeconds, monoNanos int64 }

// Clock is that of one child process, or of several that sleep together.
type Clock struct {
	path string
	raw  []byte

	mu         sync.Mutex
	wall, mono time.Duration // how far they are ahead
}

// New makes a clock that is right, kept in a file in dir. There is no need to close it.
func New(dir string) (*Clock, error) {
	file, err := os.CreateTemp(dir, "clock-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(size); err != nil {
		return nil, err
	}
	raw, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	c := &Clock{path: file.Name(), raw: raw}
	c.move(0, 0)
	return c, nil
}

// Env is what a child needs in its environment.
func (c *Clock) Env() string { return Variable + "=" + c.path }

// Step sets the wall clock by so much, forward or back. The child cannot tell a step forward from a sleep that has just ended.
func (c *Clock) Step(by time.Duration) { c.move(by, 0) }

// Sleep makes the child a machine that sleeps: it is stopped for so long, and its monotonic clock with it.
func (c *Clock) Sleep(p *os.Process, d time.Duration) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for !stopped(p.Pid) {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	time.Sleep(d)
	c.move(0, -time.Since(began)) // less than it was stopped for: its clock never goes back
	return p.Signal(syscall.SIGCONT)
}

// stopped says whether a process has stopped, or is gone.
func stopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	var name, state string
	_, err = fmt.Sscanf(afterName(string(stat)), "%s %s", &name, &state)
	return err != nil || state == "T" || state == "Z"
}

// afterName cuts a line of /proc/.../stat before the end of the name, in which there may be spaces.
func afterName(stat string) string {
	for i := len(stat) - 1; i >= 0; i-- {
		if stat[i] == ')' {
			return stat[i:]
		}
	}
	return stat
}

func (c *Clock) move(wall, mono time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.mono = c.wall+wall, c.mono+mono
	shared := (*[slots]slot)(unsafe.Pointer(&c.raw[0]))
	which := &shared[0].wallSeconds
	next := atomic.LoadInt64(which)%int64(slots-1) + 1
	s := &shared[next]
	s.wallSeconds, s.wallNanos = split(c.wall)
	s.monoSeconds, s.monoNanos = split(c.mono)
	atomic.StoreInt64(which, next)
}

// split returns seconds, and nanoseconds that are not negative.
func split(d time.Duration) (seconds, nanos int64) {
	seconds, nanos = int64(d/time.Second), int64(d%time.Second)
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+int64(time.Second)
	}
	return seconds, nanos
}
