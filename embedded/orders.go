package embedded

import (
	"slices"
	"strings"
)

// What brain is told of the process's own server, and what it has done.

// status is how the process's own server is.
type status struct {
	running bool
	off     bool     // JetStream is switched off
	leader  string   // the server that leads the cluster; "" if none is known
	leads   bool     // this one does
	term    uint64   // since which election; of the leader only
	applied bool     // it has all that the cluster's group has stored
	ready   bool     // and all of its streams
	peers   []peer   // that belong to the cluster, this one among them; nil if not known
	routed  []string // servers that are connected to it
	streams int      // that it has a part of
	sole    int      // of these, those that no other has all of, as far as known; only of one that leaves
	problem string   // why it does not run
}

// peer is a server that belongs to the cluster, as another server sees it.
type peer struct {
	name string
	id   string
	live bool // as the leader knows
}

func (s status) has(name string) bool {
	return slices.ContainsFunc(s.peers, func(p peer) bool { return p.name == name })
}

// serverOf is the server of the process of this name that belongs to the cluster; "" if none does.
func (s status) serverOf(name string) string {
	for _, p := range s.peers {
		if p.name == name || strings.HasPrefix(p.name, name+"~") {
			return p.name
		}
	}
	return ""
}

// order is what is to be done.
type order struct {
	do     action
	server string  // that is removed
	id     string  // its id among the peers
	routes []route // that the server is to know
	padded bool    // it founds nothing
	votes  int     // that are enough
	fresh  bool    // its store is to be empty
	event  any     // for hooks and log
}

type action int

const (
	doSave      action = iota // keep the identity
	doStart                   // run a server, after it was stopped if it runs
	doEmpty                   // stop it, and empty the store
	doRoutes                  // have it know these routes
	doRemove                  // take a server out of the cluster
	doEvacuate                // have others take what this server stores
	doStepDown                // have another lead
	doAccompany               // have it take part in an election though there is nobody else
	doRescue                  // have the servers that are left elect a leader with fewer votes
	doTell                    // hooks and log
)

// route is where the server of another is reached by servers.
type route struct {
	host string
	port int
	name string // whom its certificate is for, if it is not host
}

func (o *other) route() route {
	return route{o.contact.Host, o.hello.RoutePort, o.contact.TLSName}
}
