package rolebus

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unique"
)

// The border: here what came from NATS becomes a change, or is refused with the reason.

// decodeAnnouncement reads what the server republished for a change that was stored in the bucket of a fleet: headers alone.
func decodeAnnouncement(subj subjects, fleet string, h headers, subject string) (scope string, c change, err error) {
	scope, node, err := subj.parseChange(subject)
	if err == nil {
		err = h.honest(1)
	}
	if err != nil {
		return "", change{}, err
	}
	if h.stream != subj.stream() {
		return "", change{}, fmt.Errorf("not republished by stream %q but by %q", subj.stream(), clip(h.stream))
	}
	if !subj.announces(subject, h.subject) {
		return "", change{}, fmt.Errorf("announces the record %q", clip(h.subject))
	}
	generation, err := number(h.sequence, "Nats-Sequence", 1<<63)
	if err != nil {
		return "", change{}, err
	}
	if len(h.ours) != 1 {
		return "", change{}, fmt.Errorf("%d headers %s", len(h.ours), header)
	}
	w, err := decodeWire(h.ours[0])
	if err != nil {
		return "", change{}, fmt.Errorf("header: %w", err)
	}
	if w.Fleet != fleet {
		return "", change{}, &strangerError{clip(w.Fleet)}
	}
	if c, err = w.change(); err != nil {
		return "", change{}, fmt.Errorf("header: %w", err)
	}
	c.node, c.generation, c.first = node, generation, h.before == "0"
	if err := c.measure((&message{at: h.at}).storedAt); err != nil {
		return "", change{}, err
	}
	c.share()
	return scope, c, c.checkScheduler(subj, h.scheduler, scope)
}

// decodeRecord reads a stored message, whose body is the whole state.
func decodeRecord(subj subjects, h headers, subject string, body []byte, generation uint64) (string, change, error) {
	scope, node, err := subj.parseRecord(subject)
	if err != nil {
		return "", change{}, err
	}
	w, err := decodeWire(string(body))
	if err != nil {
		return "", change{}, fmt.Errorf("body: %w", err)
	}
	c, err := w.change()
	if err != nil {
		return "", change{}, fmt.Errorf("body: %w", err)
	}
	if w.Scope != scope || w.Node != node {
		return "", change{}, fmt.Errorf("record is of node %q in scope %q", clip(w.Node), clip(w.Scope))
	}
	if c.kind != kindState && !c.kind.isTombstone() {
		return "", change{}, fmt.Errorf("body: a %s is not the whole state", c.kind)
	}
	// A tombstone is a deleted key for every KV client, so a delete by anything else is not one of ours.
	operation := ""
	if c.kind.isTombstone() {
		operation = "DEL"
	}
	if h.operation != operation {
		return "", change{}, fmt.Errorf("deleted by %q, which a %s is not", clip(h.operation), c.kind)
	}
	c.node, c.generation = node, generation
	c.share()
	return scope, c, c.checkScheduler(subj, h.scheduler, scope)
}

// measure finds out how late a lease's tombstone was written.
func (c *change) measure(stored func() (time.Time, error)) error {
	if c.kind != kindExpired {
		return nil
	}
	at, err := stored()
	if err != nil {
		return fmt.Errorf("when it was stored: %w", err)
	}
	c.late = at.Sub(c.due)
	return nil
}

// checkScheduler refuses what a schedule wrote, unless it is a tombstone from the node's own lease: anybody may aim a
// schedule at any record.
func (c *change) checkScheduler(subj subjects, scheduler, scope string) error {
	if scheduler == "" || c.kind.isTombstone() && scheduler == subj.lease(scope, c.node) {
		return nil
	}
	return fmt.Errorf("%s written by the schedule %q", c.kind, clip(scheduler))
}

func number(text, name string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || n > limit {
		return 0, fmt.Errorf("%s: %q is not a number from 1 to %d", name, clip(text), limit)
	}
	return n, nil
}

// share makes the roles and the metadata that a change brings the same in memory as equal text that came before, in this or
// any other scope of the process. Nothing keeps the message alive: the roles that were removed are looked at, and never kept.
func (c *change) share() {
	c.node = strings.Clone(c.node)
	for _, roles := range [][]Role{c.roles, c.added} {
		for i, role := range roles {
			roles[i] = shared(role)
		}
	}
	if len(c.meta) > 0 {
		meta := make(map[string]string, len(c.meta))
		for key, value := range c.meta {
			meta[shared(key)] = shared(value)
		}
		c.meta = meta
	}
}

func shared[T ~string](text T) T { return unique.Make(text).Value() }
