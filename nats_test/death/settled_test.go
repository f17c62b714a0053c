package death_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// settled waits until every node has been asked twice by one and the same other: that is its predecessor on the ring, which
// has then heard it answer. A node that dies before is found by its lease only, unless the server tells.
//
// While the test listens in, nobody is told that there are no responders; it has stopped when this returns.
func (f *fleet) settled() error {
	nc, err := nats.Connect(f.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	probes := make(chan *nats.Msg, 1<<12)
	sub, err := nc.ChanSubscribe("rolebus.probe.default.*", probes)
	if err != nil {
		return err
	}
	unheard := map[string]map[string]int{} // by node and asker
	for _, n := range f.running() {
		unheard[n.name] = map[string]int{}
	}
	for deadline := time.After(patience); len(unheard) > 0; {
		select {
		case msg := <-probes:
			node := msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:]
			asker := msg.Reply[:max(0, strings.LastIndexByte(msg.Reply, '.'))]
			if asked := unheard[node]; asked != nil {
				if asked[asker]++; asked[asker] == 2 {
					delete(unheard, node)
				}
			}
		case <-deadline:
			return fmt.Errorf("waited %v for %d nodes to be probed twice by the same one", patience, len(unheard))
		}
	}
	if err := sub.Unsubscribe(); err != nil {
		return err
	}
	return nc.FlushTimeout(patience)
}
