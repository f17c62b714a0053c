package discovery

import (
	"net/netip"
	"time"
)

// Lines reads a file's text, for tests.
func Lines(text string, whole bool) ([]Address, error) {
	a := collect(nil).lines("test", text, whole)
	return a.addresses, a.err
}

// EncodeEntry makes the text of an announcement on this machine, for tests.
var EncodeEntry = encodeEntry

// DecodeEntry reads one, for tests.
var DecodeEntry = decodeEntry

// QuietFor sets for how long a file must not have changed, for tests that would take too long.
func QuietFor(d time.Duration) Option { return func(o *options) { o.quiet = d } }

// GossipLooks looks at the interfaces of this machine as gossip does, and returns by how many it would send.
func GossipLooks() (ways int, err error) {
	o := &gossipOptions{port: 45892}
	for _, group := range gossipGroups {
		o.groups = append(o.groups, netip.MustParseAddr(group))
	}
	each, _, err := o.ways()
	return len(each[0]) + len(each[1]), err
}
