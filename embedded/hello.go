package embedded

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hello is what a process says of itself to another, and the other of itself in its answer. Package hello carries it.
type hello struct {
	Version  int       `json:"version"`
	Fleet    string    `json:"fleet"` // who has another one is a stranger
	Name     string    `json:"name"`
	Instance string    `json:"instance"` // random for each life of a process: two of one name are told apart by it
	Nonce    string    `json:"nonce"`    // random for each empty store
	Size     int       `json:"size"`
	Phase    phase     `json:"phase"`
	Time     time.Time `json:"time"` // its clock, for a warning

	Host      string `json:"host,omitempty"` // where it is reached; "" where it was reached
	Port      int    `json:"port"`           // of hellos
	RoutePort int    `json:"route_port"`
	Scheme    string `json:"scheme,omitempty"`      // of its clients
	Client    int    `json:"client_port,omitempty"` // 0 while its server does not run

	Cluster  string    `json:"cluster,omitempty"`  // that it founds, joins, or is in; of a spare: that it knows
	Server   string    `json:"server,omitempty"`   // its server's name in the cluster
	Took     int64     `json:"took,omitempty"`     // for how many milliseconds it has had that place
	Proposal string    `json:"proposal,omitempty"` // the cluster that it would found
	Founders []founder `json:"founders,omitempty"` // of the cluster that it founds
	Refused  string    `json:"refused,omitempty"`  // why it may not take part

	Leader  string   `json:"leader,omitempty"`  // whom its server takes for the leader; "" if it knows of none
	Peers   []string `json:"peers,omitempty"`   // the servers that belong to the cluster, as its own server knows
	Lead    *lead    `json:"lead,omitempty"`    // of the leader only
	Accepts []string `json:"accepts,omitempty"` // marks of the passwords that its server accepts on routes
	Going   bool     `json:"going,omitempty"`   // of one that leaves: it was its turn, and it has begun

	Others []contact `json:"others,omitempty"` // whom it heard of late
}

const helloVersion = 1

// lead is what only the leader decides, so that two never do at once.
type lead struct {
	Term    uint64   `json:"term"` // of the servers' election: of two that say that they lead, the later one does
	Quorum  bool     `json:"quorum"`
	Live    []string `json:"live,omitempty"`    // servers
	Invited string   `json:"invited,omitempty"` // instance that is to join
	Leaving string   `json:"leaving,omitempty"` // server whose turn it is to go
	Surplus string   `json:"surplus,omitempty"` // server that is one too many
}

// founder is one of those who found a cluster.
type founder struct {
	Name  string `json:"name"`
	Nonce string `json:"nonce"`
}

// contact is where a process is reached.
type contact struct {
	Host    string `json:"host"`
	Port    int    `json:"port"`
	TLSName string `json:"tls_name,omitempty"`
}

func (c contact) String() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// phase is what a process is to the cluster.
type phase string

const (
	phaseSpare    phase = "spare"    // without a server: waits to found or to join
	phaseFounding phase = "founding" // its server waits for those of the other founders
	phaseJoining  phase = "joining"  // its server waits to be taken in
	phaseMember   phase = "member"
	phaseLeaving  phase = "leaving"   // a member that goes for good
	phaseReturns  phase = "returning" // was a member, and looks around before its server runs
)

var phases = []phase{phaseSpare, phaseFounding, phaseJoining, phaseMember, phaseLeaving, phaseReturns}

// claims says how much a claim to a name counts: a member has it, who runs a server will have it, and who has stored something comes before who has
// nothing.
func (p phase) claims() int {
	switch p {
	case phaseSpare:
		return 0
	case phaseReturns:
		return 1
	case phaseMember, phaseLeaving:
		return 3
	}
	return 2
}

// serves says whether a process of this phase belongs to a cluster that was founded.
func (p phase) serves() bool { return p == phaseMember || p == phaseLeaving }

// Bounds of what others say.
const (
	mostName   = 128
	mostText   = 2048
	mostPeers  = 64
	mostOthers = 64
)

func (h *hello) encode() []byte {
	text, err := json.Marshal(h)
	if err != nil {
		panic(err) // there is nothing in it that could fail
	}
	return text
}

func decodeHello(text []byte) (*hello, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("it is not the JSON of a hello: %w", err)
	}
	if v.Version != helloVersion {
		return nil, fmt.Errorf("it has version %d, and known is %d: let all processes have the same version of rolebus", v.Version, helloVersion)
	}
	h := &hello{}
	if err := json.Unmarshal(text, h); err != nil {
		return nil, fmt.Errorf("it is not the JSON of a hello: %w", err)
	}
	return h, h.check()
}

// check says what is wrong with what somebody says of himself.
func (h *hello) check() error {
	switch {
	case checkName(h.Name) != nil || h.Server != "" && checkName(h.Server) != nil:
		return fmt.Errorf("its name %q is none", clip(h.Name))
	case h.Instance == "" || len(h.Instance) > mostName || len(h.Nonce) > mostName || len(h.Cluster) > mostName || len(h.Proposal) > mostName:
		return fmt.Errorf("%s: its instance, nonce or cluster is none", h.Name)
	case h.Cluster != "" && checkName(h.Cluster) != nil:
		return fmt.Errorf("%s: its cluster is none", h.Name)
	case !slices.Contains(phases, h.Phase):
		return fmt.Errorf("%s: unknown phase %q", h.Name, clip(string(h.Phase)))
	case h.Phase != phaseSpare && (h.Cluster == "" || h.Server == ""):
		return fmt.Errorf("%s: it is %s, and of no cluster", h.Name, h.Phase)
	case !validPort(h.Port) || !validPort(h.RoutePort) || h.Client != 0 && !validPort(h.Client):
		return fmt.Errorf("%s: a port of its is none", h.Name)
	case h.Scheme != "" && h.Scheme != "nats" && h.Scheme != "tls":
		return fmt.Errorf("%s: unknown scheme %q", h.Name, clip(h.Scheme))
	case len(h.Peers) > mostPeers || len(h.Others) > mostOthers || len(h.Accepts) > mostPeers || len(h.Founders) > mostSize || h.Lead != nil && len(h.Lead.Live) > mostPeers:
		return fmt.Errorf("%s: a list of its is too long", h.Name)
	case h.longest() > mostName || len(h.Refused) > mostText:
		return fmt.Errorf("%s: a text of its is too long", h.Name)
	case h.Host != "" && !validHost(h.Host):
		return fmt.Errorf("%s: host %q is none", h.Name, clip(h.Host))
	}
	h.Others = slices.DeleteFunc(h.Others, func(c contact) bool {
		return !validHost(c.Host) || !validPort(c.Port) || c.TLSName != "" && !validHost(c.TLSName)
	})
	return nil
}

// leads says whether its server leads a cluster, and can decide. What does not go together counts for nothing: by a leader's list stores are emptied.
func (h *hello) leads() bool {
	return h.Lead != nil && h.Lead.Quorum && h.Phase.serves() && h.Leader == h.Server &&
		slices.Contains(h.Peers, h.Server) && len(h.Lead.Live) > len(h.Peers)/2
}

// longest is how long the longest of those texts is that it says of others.
func (h *hello) longest() int {
	texts := append(slices.Concat(h.Peers, h.Accepts, namesOf(h.Founders)), h.Leader)
	for _, f := range h.Founders {
		texts = append(texts, f.Nonce)
	}
	if l := h.Lead; l != nil {
		texts = append(append(texts, l.Live...), l.Invited, l.Leaving, l.Surplus)
	}
	longest := 0
	for _, text := range texts {
		longest = max(longest, len(text))
	}
	return longest
}

func validPort(port int) bool { return port >= 1 && port <= 65535 }

// foundingOf returns the identity of the cluster that these founders make: nobody else's, and never again.
func foundingOf(fleet string, founders []founder) string {
	sorted := slices.Clone(founders)
	slices.SortFunc(sorted, func(a, b founder) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Nonce, b.Nonce))
	})
	text, err := json.Marshal(struct {
		Fleet    string
		Founders []founder
	}{fleet, sorted})
	if err != nil {
		panic(err) // there is nothing in it that could fail
	}
	sum := sha256.Sum256(text)
	return fleet + "-" + hex.EncodeToString(sum[:8])
}

func clip(text string) string {
	if len(text) > mostName {
		return text[:mostName] + "..."
	}
	return text
}

// url is where clients connect to a process whose host is this; "" if it has no server.
func (h *hello) url(host string) string {
	if h.Client == 0 || h.Phase == phaseSpare || h.Phase == phaseReturns || host == "" {
		return ""
	}
	return (&url.URL{Scheme: cmp.Or(h.Scheme, "nats"), Host: net.JoinHostPort(host, strconv.Itoa(h.Client))}).String()
}
