package rolebustest

import (
	"errors"
	"net/url"
	"sync"
)

const clusterSize = 3

// mesh is what joins the servers of a cluster: a pipe for each way from one to another, so that any of them can be cut
// off from the others. Servers are counted from 0.
type mesh struct {
	own   [clusterSize]string             // where each listens for the others
	pipes [clusterSize][clusterSize]*pipe // from, to; nil from a server to itself

	mu    sync.Mutex
	apart [clusterSize]bool
}

const meshPorts = clusterSize * clusterSize // one for each server and each way

// newMesh makes the ways between servers.
func newMesh(ports []int) (*mesh, error) {
	m := &mesh{}
	for i := range m.own {
		m.own[i], ports = hostPort(ports[0]), ports[1:]
	}
	for from := range m.pipes {
		for to := range m.pipes[from] {
			if from != to {
				m.pipes[from][to], ports = newPipe(ports[0], m.own[to]), ports[1:]
			}
		}
	}
	if err := m.mend(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// routes returns the addresses by which a server reaches all, itself included: their number tells it how many make a
// majority.
func (m *mesh) routes(of int) []*url.URL {
	var urls []*url.URL
	for to, p := range m.pipes[of] {
		host := m.own[to]
		if p != nil {
			host = p.listen
		}
		urls = append(urls, &url.URL{Scheme: "nats", Host: host})
	}
	return urls
}

func (m *mesh) isApart(server int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apart[server]
}

// part cuts a server off from the others.
func (m *mesh) part(server int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apart[server] = true
	for other := range clusterSize {
		if other != server {
			m.pipes[server][other].cut()
			m.pipes[other][server].cut()
		}
	}
}

// join ends part. The ways to others that are cut off stay cut.
func (m *mesh) join(server int) error {
	m.mu.Lock()
	m.apart[server] = false
	m.mu.Unlock()
	return m.mend()
}

func (m *mesh) mend() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for from := range m.pipes {
		for to, p := range m.pipes[from] {
			if p != nil && !m.apart[from] && !m.apart[to] {
				errs = append(errs, p.mend())
			}
		}
	}
	return errors.Join(errs...)
}

func (m *mesh) close() {
	for _, row := range m.pipes {
		for _, p := range row {
			if p != nil {
				p.cut()
			}
		}
	}
}
