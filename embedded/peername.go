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
			s.peers[i].name = "unknown~" + p.id
		}
	}
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
