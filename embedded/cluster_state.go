package embedded

import (
	"slices"
	"strings"
	"time"
)

// Part is what a process is to the cluster.
type Part string

const (
	// Forming: no cluster is there, as far as this process sees, and it waits for others to found one, or does.
	Forming Part = "forming"
	// Spare: a client of the members, and ready to become one.
	Spare Part = "spare"
	// Joining: its server waits to be taken in.
	Joining Part = "joining"
	// Returning: it was a member, and looks around before its server runs.
	Returning Part = "returning"
	// Member: its server is one of the cluster.
	Member Part = "member"
	// Leaving: a member that hands on what it has, and goes for good.
	Leaving Part = "leaving"
	// Refused: it may not take part; Waiting says why.
	Refused Part = "refused"
	// Closed: by Close or Leave.
	Closed Part = "closed"
)

// ClusterState is what a process knows of the cluster: all that an operator asks.
type ClusterState struct {
	Name    string // of this process
	Part    Part   // what it is to the cluster
	Cluster string // the cluster's identity; "" if there is none yet
	Size    int    // members that it is to have

	Leader  string    // the server that leads; "" if none does, or none is known
	Members []Process // that are members, or have been until of late, sorted by name
	Spares  []Process // that wait to become members, sorted by name
	Ready   bool      // clients can connect, and JetStream answers, as far as this process knows
	Waiting string    // for whom or for what, and what to do if that takes long; "" for nothing
}

// Process is one process of a cluster, as another sees it.
type Process struct {
	Name   string // of the process
	Server string // of its server: the process's name, or, after it was removed and came back, with a number behind; "" of a spare
	Part   Part
	URL    string    // for clients; "" of a spare, or if it is not known
	Heard  time.Time // when it was heard last; zero if never since this process began
	Live   bool      // it answers
	Routed bool      // its server is connected to this process's: if it is not, clients of one do not reach clients of the other
}

// fellows are the servers of the other members that are there, by what they say. One that does not run, as where a disk is full, is nobody's way.
func (b *brain) fellows(now time.Time) []string {
	var list []string
	for _, o := range b.view.lately(now) {
		if o.hello.Cluster == b.cluster && o.hello.Phase == phaseMember && o.hello.Client != 0 {
			list = append(list, o.hello.Server)
		}
	}
	return list
}

// state makes what users see of what the brain knows.
func (b *brain) state(now time.Time, own status, self *hello) *ClusterState {
	s := &ClusterState{Name: b.name, Cluster: b.cluster, Size: b.size, Waiting: b.waits, Part: partOf(b.phase, b.refused, b.cluster)}
	leader := ""
	seen := map[string]bool{}
	add := func(h *hello, url string, heard time.Time, live bool) {
		p := Process{Name: h.Name, Server: h.Server, Part: partOf(h.Phase, h.Refused, h.Cluster), URL: url, Heard: heard, Live: live}
		p.Routed = own.running && h.Phase.serves() && (h == self || slices.Contains(own.routed, h.Server))
		if h.Phase != phaseSpare && h.Cluster == b.cluster && h.Cluster != "" {
			s.Members = append(s.Members, p)
			seen[h.Server] = true
		} else if h.Phase == phaseSpare && live {
			s.Spares = append(s.Spares, p)
		}
	}
	add(self, self.url(self.Host), now, true)
	quorum, term := false, uint64(0)
	belong := namesOfPeers(own.peers)
	for _, o := range b.view.lately(now) {
		if o.hello.Cluster == b.cluster && o.hello.Lead != nil && o.hello.Lead.Quorum && !b.phase.serves() {
			belong = o.hello.Peers
		}
	}
	for _, o := range b.view.latest() {
		live := o.fresh(now)
		if !live && len(belong) > 0 && !lists(belong, o.hello.Server) {
			continue // it was removed
		}
		if o.hello.Phase == phaseSpare && b.phase == phaseSpare && o.failed.IsZero() {
			live = now.Sub(o.heard) < 2*askSeldom // spares hear of each other no more often
		}
		if server := own.serverOf(o.hello.Name); server != "" && o.hello.Phase == phaseSpare { // what it said is older than its server, or its store is lost
			p := Process{Name: o.hello.Name, Server: server, Part: Joining, Heard: o.heard, Live: live, Routed: slices.Contains(own.routed, server)}
			s.Members = append(s.Members, p)
			seen[server] = true
			continue
		}
		if o.hello.Phase == phaseSpare && !live || seen[o.hello.Server] && o.hello.Phase != phaseSpare {
			continue
		}
		add(o.hello, o.hello.url(o.contact.Host), o.heard, live)
		if lead := o.hello.Lead; live && o.hello.Cluster == b.cluster && lead != nil && lead.Term >= term {
			leader, quorum, term = o.hello.Server, lead.Quorum, lead.Term
		}
	}
	for _, p := range own.peers { // that were never heard
		if !seen[p.name] {
			s.Members = append(s.Members, Process{Name: p.name, Server: p.name, Part: Member, Routed: slices.Contains(own.routed, p.name)})
		}
	}
	if b.phase.serves() {
		leader = own.leader
		s.Ready = own.running && own.ready
	} else {
		s.Ready = leader != "" && quorum && b.phase == phaseSpare
	}
	s.Leader = leader
	for _, list := range [][]Process{s.Members, s.Spares} {
		slices.SortFunc(list, func(a, b Process) int { return strings.Compare(a.Name+" "+a.Server, b.Name+" "+b.Server) })
	}
	return s
}

func partOf(p phase, refused, cluster string) Part {
	switch {
	case refused != "":
		return Refused
	case p == phaseSpare && cluster == "":
		return Forming
	case p == phaseFounding:
		return Forming
	}
	return Part(p)
}

// same says whether nothing has changed but when who was heard.
func (s *ClusterState) same(other *ClusterState) bool {
	if other == nil || s.Name != other.Name || s.Part != other.Part || s.Cluster != other.Cluster || s.Leader != other.Leader ||
		s.Ready != other.Ready || s.Waiting != other.Waiting {
		return false
	}
	alike := func(a, b Process) bool {
		a.Heard, b.Heard = time.Time{}, time.Time{}
		return a == b
	}
	return slices.EqualFunc(s.Members, other.Members, alike) && slices.EqualFunc(s.Spares, other.Spares, alike)
}

// own is the URL of this process's server, "" if it has none.
func (s *ClusterState) own() string {
	for _, p := range s.Members {
		if p.Name == s.Name && p.URL != "" {
			return p.URL
		}
	}
	return ""
}

// others are the URLs of the other members that are there, and whose servers know the cluster.
func (s *ClusterState) others() []string {
	var list []string
	for _, p := range s.Members {
		if p.Name != s.Name && p.Live && p.Part == Member && p.URL != "" {
			list = append(list, p.URL)
		}
	}
	return list
}

// urls are those of the members' servers, this process's own first.
func (s *ClusterState) urls() []string {
	var list []string
	for _, live := range []bool{true, false} {
		for _, p := range s.Members {
			switch {
			case p.URL == "" || p.Live != live:
			case p.Name == s.Name:
				list = slices.Insert(list, 0, p.URL)
			default:
				list = append(list, p.URL)
			}
		}
	}
	return list
}

func namesOfPeers(peers []peer) []string {
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	return names
}
