package rolebustest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const clusterTimeout = time.Minute

// WaitReady waits until the servers that are up, and not cut off, work together: they have one leader, it knows them all
// well enough to give them replicas, and each has all that JetStream has assigned to it and is up to date with it. Then a
// new stream gets as many replicas as there are servers, and in a cluster of which all are ready any one may be stopped.
// If that takes more than a minute the test has failed.
func (c *Cluster) WaitReady() {
	c.tb.Helper()
	within(c.tb, clusterTimeout, func() bool { return c.unready() == "" }, func() string {
		return "the cluster to be ready: " + c.unready()
	})
}

// LeaderOf waits until a stream has a leader, and returns the server. The stream of a bus is "KV_rolebus", or KV_ and the
// name of its bucket. A server that is cut off does not count: it may think for a while that it still leads. If there is
// none for a minute the test has failed.
func (c *Cluster) LeaderOf(stream string) *Server {
	c.tb.Helper()
	var leader *Server
	within(c.tb, clusterTimeout, func() bool {
		leader = c.leaderOf(stream)
		return leader != nil
	}, func() string { return fmt.Sprintf("stream %s to have a leader", stream) })
	return leader
}

func (c *Cluster) leaderOf(stream string) *Server {
	for _, s := range c.servers {
		if ns := s.member(); ns != nil && leads(ns, stream) {
			return s
		}
	}
	return nil
}

func leads(ns *server.Server, stream string) bool {
	list, err := ns.Accountz(nil)
	if err != nil {
		return false
	}
	for _, account := range list.Accounts {
		if ns.JetStreamIsStreamLeader(account, stream) {
			return true
		}
	}
	return false
}

// unready says what the cluster still lacks, "" if nothing.
func (c *Cluster) unready() string {
	up, leaders, known := 0, 0, 0
	var lacks []string
	for _, s := range c.servers {
		ns := s.member()
		if ns == nil {
			continue
		}
		up++
		if ns.JetStreamIsLeader() {
			leaders++
			known = len(ns.JetStreamClusterPeers())
		}
		if complaint := health(ns); complaint != "" {
			lacks = append(lacks, s.name+" says: "+complaint)
		}
	}
	if leaders != 1 {
		lacks = append(lacks, fmt.Sprintf("of %d servers %d think they are the leader", up, leaders))
	} else if known < up { // it may still count on one that was killed or cut off
		lacks = append(lacks, fmt.Sprintf("%d servers are up, the leader knows %d", up, known))
	}
	return strings.Join(lacks, "; ")
}

// health asks a server what its /healthz would say; "" if it is well.
func health(ns *server.Server) string {
	var answer healthAnswer
	request, err := http.NewRequest(http.MethodGet, server.HealthzPath, nil)
	if err != nil {
		return err.Error()
	}
	ns.HandleHealthz(&answer, request)
	if answer.code == http.StatusOK {
		return ""
	}
	return answer.body.String()
}

// healthAnswer is an http.ResponseWriter, for a question without a network.
type healthAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *healthAnswer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *healthAnswer) WriteHeader(code int)        { a.code = code }
func (a *healthAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }
