//go:build linux

package exclusive_test

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
)

// judge is a resource that the holders write to, outside of the bus: a register for each place, which remembers the largest token that it has
// seen, and refuses smaller ones. Who has a term first opens the register with its token, which reads it, and from then on writes one more than
// it has read or written last.
type judge struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	books  map[[2]int64]*book
	guests map[net.Conn]bool
}

type book struct {
	largest uint64
	register
}

// request is what a holder asks, and answer what it gets.
type (
	request struct {
		Write      bool
		Name, Seat int64
		Token      uint64
		Value      int64
	}
	answer struct {
		Refused bool
		Value   int64 // as it is now
	}
)

func newJudge(path string) (*judge, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	j := &judge{listener: listener, books: map[[2]int64]*book{}, guests: map[net.Conn]bool{}}
	j.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			j.mu.Lock()
			j.guests[conn] = true
			j.mu.Unlock()
			j.wg.Go(func() { j.attend(conn) })
		}
	})
	return j, nil
}

// attend answers one process until that ends.
func (j *judge) attend(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		j.mu.Lock()
		delete(j.guests, conn)
		j.mu.Unlock()
	}()
	var r request
	for binary.Read(conn, binary.LittleEndian, &r) == nil {
		if binary.Write(conn, binary.LittleEndian, j.decide(r)) != nil {
			return
		}
	}
}

func (j *judge) decide(r request) answer {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := [2]int64{r.Name, r.Seat}
	if j.books[at] == nil {
		j.books[at] = &book{}
	}
	b := j.books[at]
	if r.Token < b.largest {
		b.refused++
		return answer{Refused: true, Value: int64(b.value)}
	}
	b.largest = r.Token
	if r.Write {
		b.value = int(r.Value)
		b.accepted++
	}
	return answer{Value: int64(b.value)}
}

// close ends it, and returns what stands in the registers.
func (j *judge) close(names []nameSpec) map[place]register {
	_ = j.listener.Close()
	j.mu.Lock()
	for conn := range j.guests {
		_ = conn.Close()
	}
	j.mu.Unlock()
	j.wg.Wait()
	registers := map[place]register{}
	for at, b := range j.books {
		registers[place{names[at[0]].String(), int(at[1])}] = b.register
	}
	return registers
}

// pen is a process's way to the judge.
type pen struct {
	mu   sync.Mutex
	conn net.Conn
}

// ask returns false if the token is too small.
func (p *pen) ask(r request) (value int64, accepted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var a answer
	if err := errors.Join(binary.Write(p.conn, binary.LittleEndian, r), binary.Read(p.conn, binary.LittleEndian, &a)); err != nil {
		return 0, false // the test is over
	}
	return a.Value, !a.Refused
}
