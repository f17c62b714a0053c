package discovery

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// gossipStrange is a kind of packet that means nothing here, or less than it says.
type gossipStrange int

const (
	gossipNone gossipStrange = iota
	gossipVersion
	gossipLong
	gossipForeign
	gossipBody
	gossipOther // cluster
	gossipReplayed
	gossipSilent
	gossipCrowd
	gossipStranges int = iota
)

// What is told of each, and what somebody can do.
var gossipTexts = [gossipStranges]struct{ what, mend string }{
	gossipNone: {"are no packets of gossip",
		"another program uses this port: give it or us another one, with GossipPort in all processes"},
	gossipVersion: {"are of another version of gossip",
		"processes with different versions of rolebus do not hear each other: bring them to the same"},
	gossipLong: {"are longer than a packet of gossip may be",
		"another program uses this port: give it or us another one, with GossipPort in all processes"},
	gossipForeign: {"are sealed with another secret, or were changed on their way",
		"if it is one of yours, it has another secret: give all the same, or both while you change it, by AcceptSecrets; if it is not, they do nothing"},
	gossipBody: {"have the right secret, and cannot be read",
		"somebody who has the secret sends what this version does not know: bring all to the same version"},
	gossipOther: {"are of another cluster, with the same secret",
		"give the clusters secrets or ports of their own, if they are to know nothing of each other"},
	gossipReplayed: {"are old: the network delivers them very late, or somebody replays them",
		"they do nothing"},
	gossipSilent: {"are of processes that do not answer: they do not hear this one, or they are gone and somebody replays their packets",
		"let UDP to the port through in both directions, on both machines"},
	gossipCrowd: {"are of more processes than the 1,024 that are listened to",
		"announce fewer servers in one cluster of gossip"},
}

const (
	gossipTellAgain  = 10 * time.Second // at first; then twice as long each time
	gossipTellSeldom = 10 * time.Minute
)

// gossipStrangers counts packets that mean nothing. Counting costs no memory, whatever comes.
type gossipStrangers struct {
	mu   sync.Mutex
	seen [gossipStranges]struct {
		n      int // since it was told
		from   netip.AddrPort
		detail string
		next   time.Time
		wait   time.Duration
	}
	any chan struct{} // of one: something is to be told
}

func newGossipStrangers() *gossipStrangers { return &gossipStrangers{any: make(chan struct{}, 1)} }

// add counts a packet.
func (s *gossipStrangers) add(kind gossipStrange, from netip.AddrPort, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &s.seen[kind]
	k.n++

	if k.n == 1 {
		k.from, k.detail = from, detail
		select {
		case s.any <- struct{}{}:
		default:
		}
	}
}

// due returns what is to be told now: of each kind the first at once, and then how many came, at growing intervals.
func (s *gossipStrangers) due(now time.Time, source string) (failures []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind := range s.seen {
		k, text := &s.seen[kind], gossipTexts[kind]
		if k.n == 0 || now.Before(k.next) {
			continue
		}
		if now.Sub(k.next) > gossipTellSeldom {
			k.wait = 0 // it was quiet for long
		}
		k.wait = min(max(2*k.wait, gossipTellAgain), gossipTellSeldom)
		k.next = now.Add(k.wait)
		what := fmt.Sprintf("%d packets, such as one from %s, %s", k.n, k.from, text.what)
		if k.n == 1 {
			what = fmt.Sprintf("packets, such as one from %s, %s", k.from, text.what)
		}
		if k.detail != "" {
			what += ": " + k.detail
		}
		failures = append(failures, &Failure{Source: source, Reason: ReasonMalformed, Mend: text.mend, Err: errors.New(what)})
		k.n = 0
	}
	return failures
}
