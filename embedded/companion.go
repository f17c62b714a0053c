package embedded

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// companion is a server without JetStream that has a route to a member's server, and nothing else. A server that was started while none of the
// others ran waits for its first route before it takes part in any election (nats-server 2.15.2, raft.go:2817): the only one left of a cluster
// would wait for ever, be it that the others are lost, or that they have left. It is there until there is a leader, or a rescue is over.
type companion struct {
	ns  *server.Server
	log *serverLog
}

// accompany starts one, and waits until it is connected.
func (r *running) accompany(auth *routeAuth) (*companion, error) {
	host := r.o.Cluster.Host
	if unspecified(host) {
		host = loopback
	}
	port := r.ns.ClusterAddr().Port
	o := &server.Options{
		ServerName: "companion-" + randomText(), Host: loopback, Port: server.RANDOM_PORT, NoSigs: true,
		CustomClientAuthentication: nobody{},
		SystemAccount:              r.o.SystemAccount, Accounts: []*server.Account{server.NewAccount(r.o.SystemAccount)},
	}
	o.Cluster.Name, o.Cluster.Host, o.Cluster.Port, o.Cluster.PoolSize = r.o.Cluster.Name, host, server.RANDOM_PORT, -1
	o.Cluster.NoAdvertise = true // nobody else needs it
	auth.set(o)
	if o.Cluster.TLSConfig != nil {
		o.Cluster.TLSConfig = o.Cluster.TLSConfig.Clone()
		o.Cluster.TLSConfig.VerifyConnection = nil // it dials its own process, by an address that no certificate is for
	}
	o.Routes = append(o.Routes, auth.url(route{host: host, port: port}))
	log := newServerLog(r.log.to)
	log.quiet = true
	log.conceal(secretsOf(o))
	ns, err := server.NewServer(o)
	if err != nil {
		return nil, log.clean(err)
	}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	c := &companion{ns, log}
	for end := time.Now().Add(systemPatience); r.ns.NumRoutes() == 0; time.Sleep(readyPoll) {
		if time.Now().After(end) {
			c.stop()
			return nil, errors.New("the server does not take a route of its own process")
		}
	}
	return c, nil
}

// nobody is who may connect as a client. (A server that listens for no clients makes no routes.)
type nobody struct{}

func (nobody) Check(server.ClientAuthentication) bool { return false }

func (c *companion) stop() {
	stop(c.ns)
	c.log.end()
}
