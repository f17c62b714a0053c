//go:build linux

package selfformed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/rolebus/rolebus/internal/children"
	"github.com/rolebus/rolebus/internal/lan"
)

// A child process is this test's own binary, started again with this variable set. It reads its configuration from the first line of its
// standard input, orders from the others, and ends when that does: with the test.
const childVariable = "ROLEBUS_SELFFORMED_PROCESS"

// instant is a time of the wall clock, which all processes of a machine share, in nanoseconds.
type instant int64

func now() instant { return instant(time.Now().UnixNano()) }

func (i instant) since(j instant) time.Duration { return time.Duration(i - j) }
func (i instant) sub(d time.Duration) instant   { return i - instant(d) }
func (s span) meets(other span) bool            { return s.from < other.to && other.from < s.to }
func (s span) within(other span) (d time.Duration) {
	return max(0, min(s.to, other.to).since(max(s.from, other.from)))
}

// span is from one instant to another.
type span struct{ from, to instant }

const never = instant(1<<63 - 1)

// config is what a child is told first.
type config struct {
	Name, Host, Dir, Secret string
	Size                    int
	Grace                   time.Duration
	Bus                     bool
}

// order is what a child is told to do.
type order struct {
	Call  int    // with which it answers; 0: it does not
	Do    string // one of those below
	Hosts []string
	Fails string // what discovery says is wrong
}

const (
	doShow  = "show"  // discovery finds these hosts, or fails
	doMake  = "make"  // the canary stream
	doCheck = "check" // whether the streams are whole
	doRead  = "read"  // the canary stream
	doClose = "close" // the bus, then the cluster: to come back
	doLeave = "leave" // for good
)

// record is what a child says of what it does and sees.
type record struct {
	Kind  string
	At    instant
	From  instant  `json:",omitzero"`
	Call  int      `json:",omitempty"`
	Node  string   `json:",omitempty"`
	Life  uint64   `json:",omitempty"`
	Text  string   `json:",omitempty"` // the error, the reason
	State *state   `json:",omitempty"`
	Sent  []string `json:",omitempty"`
	proc  int      // who said it: the number of his process
}

const (
	isState   = "state"   // what the cluster is, as it sees it
	isJoined  = "joined"  // its bus has, as this life
	isOnline  = "online"  // its bus is connected to the server Node
	isOffline = "offline" // not any more
	sees      = "sees"    // another life of the bus
	misses    = "misses"  // that life, for the reason Text
	isOver    = "over"    // the context of work for that life
	isAcked   = "acked"   // a message of the canary was
	isStalled = "stalled" // it did not run, from then on
	isAnswer  = "answer"
	isEnding  = "ending" // it begins to close
	isEnded   = "ended"  // it has closed
	isDead    = "dead"   // its bus ended by itself
	isProblem = "problem"
	isStarted = "started"
	isEvent   = "event" // of the cluster's hooks
)

// child is a process, as the test sees it.
type child struct {
	number int
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	orders chan order
	gone   chan struct{} // closed when the process has ended and all that it said was heard
	err    error         // how it ended; after gone
	log    children.Tail
	began  instant
}

// startChild starts a child on a host. Each record of it is given to hear, and nobody else's meanwhile.
func startChild(on *lan.Port, number int, cfg config, hear func(record)) (*child, error) {
	c := &child{number: number, cmd: exec.Command("/proc/self/exe"), orders: make(chan order, 4096), gone: make(chan struct{}), began: now()}
	c.cmd.Env = append(os.Environ(), childVariable+"=yes")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a frozen one does not see the end of its input
	c.cmd.Stderr = &c.log
	c.cmd.Stdout = &lines{hear: func(line []byte) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			r = record{Kind: isProblem, At: now(), Text: "it said: " + string(line)}
		}
		r.proc = number
		hear(r)
	}}
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		c.err = on.Run(c.cmd, func(err error) { started <- err })
		close(c.gone)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		encoder := json.NewEncoder(c.stdin)
		_ = encoder.Encode(cfg) // a process that is gone is told of by gone
		for {
			select {
			case o := <-c.orders:
				_ = encoder.Encode(o)
			case <-c.gone:
				return
			}
		}
	}()
	return c, nil
}

func (c *child) running() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// signal reaches only this process; one that has ended already is left alone.
func (c *child) signal(sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// kill kills it, frozen or not, and waits until it is gone.
func (c *child) kill() {
	_ = c.signal(syscall.SIGKILL)
	<-c.gone
}

// lines gives each line that is written to hear.
type lines struct {
	rest []byte
	hear func([]byte)
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		l.hear(line)
		l.rest = rest
	}
}
