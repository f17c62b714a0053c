package rolebus

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// The three messages by which a node writes of itself: its record, its lease, its goodbye.

// recordMessage stores a change in the place of the record of a generation.
func recordMessage(subj subjects, fleet, scope string, c change, replaces uint64) *nats.Msg {
	msg := encode(fleet, scope, c)
	msg.Subject = subj.record(scope, c.node)
	expect(msg, replaces)
	return msg
}

// leaseMessage has the server write a tombstone over the record when it is due, provided that the record is of a generation now.
func leaseMessage(subj subjects, fleet, scope string, c change, record uint64) *nats.Msg {
	msg, target := encode(fleet, scope, c), subj.record(scope, c.node)
	msg.Subject = subj.lease(scope, c.node)
	msg.Header["KV-Operation"] = []string{"DEL"}
	msg.Header["Nats-Schedule"] = []string{"@at " + c.due.UTC().Format("2006-01-02T15:04:05.000Z")}
	msg.Header["Nats-Schedule-TTL"] = []string{tombstoneTTL}
	msg.Header["Nats-Schedule-Target"] = []string{target}
	expect(msg, record)
	msg.Header["Nats-Expected-Last-Subject-Sequence-Subject"] = []string{target}
	return msg
}

// goodbyeMessage stores a tombstone in the place of the record of a generation, and ends the lease.
func goodbyeMessage(subj subjects, fleet, scope string, c change, replaces uint64) *nats.Msg {
	msg := recordMessage(subj, fleet, scope, c, replaces)
	msg.Header["KV-Operation"] = []string{"DEL"}
	msg.Header["Nats-TTL"] = []string{tombstoneTTL}
	msg.Header["Nats-Scheduler"] = []string{subj.lease(scope, c.node)}
	msg.Header["Nats-Schedule-Next"] = []string{"purge"}
	return msg
}

const tombstoneTTL = "1h" // endMemory

// dueAt returns the time of a lease that ends after a time, as a message can tell it.
func dueAt(at time.Time) time.Time { return at.Add(time.Millisecond - 1).Truncate(time.Millisecond) }

func expect(msg *nats.Msg, generation uint64) {
	msg.Header["Nats-Expected-Last-Subject-Sequence"] = []string{strconv.FormatUint(generation, 10)}
}
