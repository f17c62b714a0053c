//go:build linux

package exclusive_test

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// ledger is memory that a process shares with the test: what it held, and when. It outlives the process, however that ends.
type ledger struct {
	raw []byte

	mu   sync.Mutex // of the process's own
	used int
	out  *entry // open as long as the process is not connected
}

const (
	ledgerSize = 1 << 20
	entries    = ledgerSize / int(unsafe.Sizeof(entry{}))
)

// entry is one term. Its writer is the process, which sets began last: until then it is none.
type entry struct {
	began, first, last atomic.Int64
	token              atomic.Uint64
	name, seat         atomic.Int64
	_                  [2]int64
}

// openLedger opens a ledger, which the test makes and the process finds.
func openLedger(path string) (*ledger, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(ledgerSize); err != nil {
		return nil, err
	}
	raw, err := syscall.Mmap(int(file.Fd()), 0, ledgerSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return &ledger{raw: raw}, err
}

func (l *ledger) close() error { return syscall.Munmap(l.raw) }

func (l *ledger) at(i int) *entry {
	return (*entry)(unsafe.Pointer(&l.raw[i*int(unsafe.Sizeof(entry{}))]))
}

// begin opens a term; it panics if there are more than anybody can have.
func (l *ledger) begin(name, seat int, token uint64) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.at(l.used)
	l.used++
	e.name.Store(int64(name))
	e.seat.Store(int64(seat))
	e.token.Store(token)
	e.began.Store(int64(now()))
	return e
}

// noOne is the name of entries that are no terms: they say from when to when the process was not connected.
const noOne = -1

// offline notes that the process is not connected any more, and online that it is again.
func (l *ledger) offline() {
	l.mu.Lock()
	out := l.out
	l.mu.Unlock()
	if out != nil {
		return
	}
	e := l.begin(noOne, 0, 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = e
}

func (l *ledger) online() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != nil {
		l.out.last.Store(int64(now()))
		l.out = nil
	}
}

// look says whether a term is held, and writes it down. The clock is read first: what it says is true for that instant, however long the
// process is stopped between the two.
func (e *entry) look(holds func() bool) bool {
	at := int64(now())
	if !holds() {
		return false
	}
	for was := e.last.Load(); was < at && !e.last.CompareAndSwap(was, at); was = e.last.Load() {
	}
	e.first.CompareAndSwap(0, at)
	return true
}

// terms are those of a process so far, and when it was not connected.
func (l *ledger) terms(proc int, node string, names []nameSpec) (list []term, offline []span) {
	for i := range entries {
		e := l.at(i)
		began, first, last := instant(e.began.Load()), instant(e.first.Load()), instant(e.last.Load())
		switch name := e.name.Load(); {
		case began == 0:
			return list, offline
		case name == noOne && last == 0:
			offline = append(offline, span{began, forever})
		case name == noOne:
			offline = append(offline, span{began, last})
		default:
			list = append(list, term{
				proc: proc, node: node, place: place{names[name].String(), int(e.seat.Load())}, token: e.token.Load(), began: began, first: first, last: last,
			})
		}
	}
	return list, offline
}

// eyes look at all terms that a process has, all the time.
type eyes struct {
	mu   sync.Mutex
	open map[*entry]func() bool
}

const blink = time.Millisecond

func (y *eyes) watch(e *entry, holds func() bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.open[e] = holds
}

func (y *eyes) rest(e *entry) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.open, e)
}

func (y *eyes) run() {
	for ; ; time.Sleep(blink) {
		y.mu.Lock()
		for e, holds := range y.open {
			if !e.look(holds) {
				delete(y.open, e) // a term that has ended does not come back
			}
		}
		y.mu.Unlock()
	}
}
