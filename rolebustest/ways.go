package rolebustest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rolebus/rolebus/embedded"
)

// ways are those between the processes of a [SelfFormed], and from the test to them: a pipe for each that is used, so that any of them can be
// broken.
type ways struct {
	mu    sync.Mutex
	ends  []*ends // by process; what is broken is what befell the processes at its ends
	pipes map[path]*pipe
}

// ends are the ports of a process, and what has befallen it.
type ends struct {
	hello, route, client int

	down   bool // it has no process: whatever goes there is refused
	frozen bool
	group  int // of a split; 0: everybody's
}

// outside is the test itself, where a process stands otherwise.
const outside = -1

// path is a way from a process, or the test, to a port of a process.
type path struct {
	from, to int
	port     int
}

func (w *ways) add(hello, route, client int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, &ends{hello: hello, route: route, client: client, down: true})
	return len(w.ends) - 1
}

// befall has something befall processes, and breaks and mends ways accordingly. No new connection slips through meanwhile.
func (w *ways) befall(what func(all []*ends)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	what(w.ends)
	var errs []error
	for key, p := range w.pipes {
		errs = append(errs, w.treat(key, p))
	}
	return errors.Join(errs...)
}

// groupOf returns the group of a process, and whether it can be reached there.
func (w *ways) groupOf(place int) (group int, reached bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.ends[place]
	return e.group, !e.down && !e.frozen
}

// treat makes a pipe what it must be, under mu.
func (w *ways) treat(key path, p *pipe) error {
	to, from := w.ends[key.to], &ends{}
	if key.from != outside {
		from = w.ends[key.from]
	}
	apart := from.group != to.group && from.group != 0 && to.group != 0
	if from.down || to.down || apart {
		p.cut()
		return nil
	}
	return p.open(from.frozen || to.frozen)
}

// open returns where a way begins that ends at a port of a process.
func (w *ways) open(from int, end embedded.End) (begin string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for to, e := range w.ends {
		if end.Port != e.hello && end.Port != e.route && end.Port != e.client {
			continue
		}
		key := path{from, to, end.Port}
		if p := w.pipes[key]; p != nil {
			return p.listen, nil
		}
		ports, err := takePorts(1)
		if err != nil {
			return "", err
		}
		p := newPipe(ports[0], hostPort(end.Port))
		if err := w.treat(key, p); err != nil {
			dropPorts(ports)
			return "", err
		}
		w.pipes[key] = p
		return p.listen, nil
	}
	return "", fmt.Errorf("%s is none of the processes", end)
}

// close closes ways for good.
func (w *ways) close(which func(path) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, p := range w.pipes {
		if which(key) {
			p.cut()
			_, port := splitPort(p.listen)
			dropPorts([]int{port})
			delete(w.pipes, key)
		}
	}
}

// transport is a process's, for hellos and routes.
type transport struct {
	ways *ways
	from int
}

func (t transport) Connect(_ context.Context, end embedded.End) (embedded.End, error) {
	at, err := t.ways.open(t.from, end)
	if err != nil {
		return embedded.End{}, err
	}
	host, port := splitPort(at)
	return embedded.End{Host: host, Port: port}, nil
}

func (t transport) Disconnect(_ context.Context, end embedded.End) error {
	t.ways.close(func(key path) bool { return key.from == t.from && key.port == end.Port })
	return nil
}

func (t transport) List(context.Context) ([]embedded.End, error) {
	t.ways.mu.Lock()
	defer t.ways.mu.Unlock()
	var list []embedded.End
	for key := range t.ways.pipes {
		if key.from == t.from && key.port != t.ways.ends[key.to].client {
			list = append(list, embedded.End{Host: loopback, Port: key.port})
		}
	}
	return list, nil
}

// dialer connects clients: those of a process, or of the test.
type dialer struct {
	ways *ways
	from int
}

const dialTimeout = 2 * time.Second

// Dial connects to a server.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	host, port := splitPort(address)
	at, err := d.ways.open(d.from, embedded.End{Host: host, Port: port})
	if err != nil {
		return nil, err
	}
	return net.DialTimeout(network, at, dialTimeout)
}
