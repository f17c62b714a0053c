package embedded

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// named gives names to the peers that the server knows by their ids only, as those that it has not heard since it started.
func (s *status) named(known []string) {
	for i, p := range s.peers {
		if at := slices.IndexFunc(known, func(name string) bool { return peerID(name) == p.id }); at >= 0 {
			s.peers[i].name = known[at]
		} else if strings.HasPrefix(p.name, "Server name unknown") {
			s.peers[i].name = unnamed(p.id)
		}
	}
}

// unnamed stands for the name of a peer of whom only the id is known.
func unnamed(id string) string { return "unknown~" + id }

// lists says whether a server is among those that another names as its peers, be it by an id: who is not on the leader's list empties its store, so
// one whose name the leader does not know yet must not be missed.
func lists(peers []string, server string) bool {
	return slices.Contains(peers, server) || slices.Contains(peers, unnamed(peerID(server)))
}

// peerID is how a server of this name is known among the peers.
func peerID(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	for i := range 8 {
		sum[i] = digits[int(sum[i])%len(digits)]
	}
	return string(sum[:8])
}
