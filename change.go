package rolebus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unique"

	"github.com/nats-io/nats.go"
)

// change is one fact about one node, in the only form that the inside knows: whatever the server sent has become a
// change, or an error, at the border.
type change struct {
	kind       kind
	node       string
	id         life
	generation uint64            // the record's revision; 0 in what is about to be written
	base       uint64            // delta: the version that it changes
	roles      []Role            // state: all roles, sorted
	meta       map[string]string // state
	added      []Role            // delta, sorted
	removed    []Role            // delta, sorted
	due        time.Time         // expired: when the lease ran out, by the server's clock; in what is about to be written
	late       time.Duration     // expired: how long after that the server said so
}

type kind int

const (
	kindState   kind = iota + 1 // whole in itself: a join, or a record written again
	kindDelta                   // some roles added and removed
	kindNotice                  // the record changed, but is too large to announce: fetch it
	kindLeft                    // a tombstone: the node said goodbye
	kindExpired                 // a tombstone: the node's lease ran out
)

var kindNames = map[kind]string{
	kindState: "state", kindDelta: "delta", kindNotice: "notice", kindLeft: "left", kindExpired: "expired",
}

func (k kind) String() string    { return kindNames[k] }
func (k kind) isTombstone() bool { return k == kindLeft || k == kindExpired }

func (k kind) reason() Reason {
	if k == kindLeft {
		return ReasonLeft
	}
	return ReasonExpired
}

// The wire form, version 1. A stored message has the whole state as a JSON body, for whoever reads the bucket, and the
// change in its headers, for whoever hears the announcement, which has no body. docs/PROTOCOL.md describes both.
const (
	wireFormat = 1
	maxNumber  = 1 << 53 // of an incarnation or a version: what JSON numbers hold exactly in every language
	maxHeaders = 16 << 10

	hdrFormat      = "Rolebus-Format"
	hdrChange      = "Rolebus-Change"
	hdrIncarnation = "Rolebus-Incarnation"
	hdrVersion     = "Rolebus-Version"
	hdrBase        = "Rolebus-Base"
	hdrRoles       = "Rolebus-Roles"
	hdrMeta        = "Rolebus-Meta"
	hdrAdded       = "Rolebus-Added"
	hdrRemoved     = "Rolebus-Removed"
	hdrDue         = "Rolebus-Due"
)

// wireRecord is the body of a stored message: a record, or with a reason a tombstone.
type wireRecord struct {
	Format      int               `json:"format"`
	Scope       string            `json:"scope"`
	Node        string            `json:"node"`
	Incarnation uint64            `json:"incarnation"`
	Version     uint64            `json:"version"`
	Roles       []Role            `json:"roles,omitzero"`
	Meta        map[string]string `json:"meta,omitempty"`
	Gone        string            `json:"gone,omitempty"`
}

// encode returns the headers and the body of the message that stores a change. The roles and the metadata of the whole
// record come from c even if it is a delta: the body is always the whole state.
func encode(scope string, c change) (nats.Header, []byte) {
	return encodeHeaders(c), printRecord(scope, c)
}

// roomy says whether a record is far too small to take so many bytes, whatever of it must be escaped.
func (c change) roomy(size int64) bool {
	const others, escaped = 2048, len(`\u0000`)
	text := len(c.node)
	for _, role := range c.roles {
		text += len(role) + len(`"",`)
	}
	for key, value := range c.meta {
		text += len(key) + len(value) + len(`"":"",`)
	}
	return int64(others+maxToken*escaped+text*escaped) < size
}

func encodeHeaders(c change) nats.Header {
	hdr := make(nats.Header, 12) // with those that are added later
	switch c.kind {
	case kindState:
		hdr[hdrRoles] = []string{string(printRoles(nil, c.roles))}
		if len(c.meta) > 0 {
			hdr[hdrMeta] = []string{string(printMeta(nil, c.meta))}
		}
	case kindDelta:
		hdr[hdrBase] = []string{strconv.FormatUint(c.base, 10)}
		if len(c.added) > 0 {
			hdr[hdrAdded] = []string{string(printRoles(nil, c.added))}
		}
		if len(c.removed) > 0 {
			hdr[hdrRemoved] = []string{string(printRoles(nil, c.removed))}
		}
	case kindExpired:
		hdr[hdrDue] = []string{c.due.UTC().Format(time.RFC3339Nano)}
	}
	kind, size := c.kind, 0
	for name, values := range hdr {
		size += len(name) + len(values[0])
	}
	if size > maxHeaders {
		kind = kindNotice // a server refuses headers over 64 KiB
		clear(hdr)
	}
	hdr[hdrFormat] = []string{strconv.Itoa(wireFormat)}
	hdr[hdrIncarnation] = []string{strconv.FormatUint(c.id.incarnation, 10)}
	hdr[hdrVersion] = []string{strconv.FormatUint(c.id.version, 10)}
	hdr[hdrChange] = []string{kind.String()}
	return hdr
}

// decodeAnnouncement reads what the server republished for a stored change: headers alone.
func decodeAnnouncement(subj subjects, hdr nats.Header, subject string) (scope string, c change, err error) {
	scope, c.node, err = subj.parseChange(subject)
	if err == nil {
		err = honest(hdr, 1)
	}
	if err != nil {
		return "", change{}, err
	}
	if got := told(hdr, "Nats-Stream"); got != subj.stream() {
		return "", change{}, fmt.Errorf("not republished by stream %q but by %q", subj.stream(), clip(got))
	}
	if got := told(hdr, "Nats-Subject"); got != subj.record(scope, c.node) {
		return "", change{}, fmt.Errorf("announces the record %q", clip(got))
	}
	if c.generation, err = number(told(hdr, "Nats-Sequence"), "Nats-Sequence", 1<<63); err != nil {
		return "", change{}, err
	}
	if err := c.decodeHeaders(hdr); err != nil {
		return "", change{}, err
	}
	if err := c.measure(hdr, (&message{at: told(hdr, "Nats-Time-Stamp")}).storedAt); err != nil {
		return "", change{}, err
	}
	c.share()
	return scope, c, c.checkScheduler(subj, hdr, scope)
}

// measure finds out how late a lease's tombstone was written.
func (c *change) measure(hdr nats.Header, stored func() (time.Time, error)) error {
	if c.kind != kindExpired {
		return nil
	}
	due, err := time.Parse(time.RFC3339Nano, hdr.Get(hdrDue))
	if err != nil {
		return fmt.Errorf("%s: %w", hdrDue, err)
	}
	at, err := stored()
	if err != nil {
		return fmt.Errorf("when it was stored: %w", err)
	}
	c.late = at.Sub(due)
	return nil
}

func (c *change) decodeHeaders(hdr nats.Header) (err error) {
	if err := checkFormat(hdr.Get(hdrFormat)); err != nil {
		return err
	}
	if c.id.incarnation, err = number(hdr.Get(hdrIncarnation), hdrIncarnation, maxNumber); err != nil {
		return err
	}
	if c.id.version, err = number(hdr.Get(hdrVersion), hdrVersion, maxNumber); err != nil {
		return err
	}
	switch name := hdr.Get(hdrChange); name {
	case kindState.String():
		c.kind = kindState
		if c.roles, err = roleList(hdr, hdrRoles); err != nil {
			return err
		}
		if raw := hdr.Get(hdrMeta); raw != "" {
			if err := unmarshal(raw, &c.meta); err != nil {
				return fmt.Errorf("%s: %w", hdrMeta, err)
			}
		}
	case kindDelta.String():
		c.kind = kindDelta
		if c.base, err = number(hdr.Get(hdrBase), hdrBase, maxNumber); err != nil {
			return err
		}
		if c.base >= c.id.version {
			return fmt.Errorf("version %d follows version %d", c.id.version, c.base)
		}
		if c.added, err = roleList(hdr, hdrAdded); err != nil {
			return err
		}
		if c.removed, err = roleList(hdr, hdrRemoved); err != nil {
			return err
		}
	case kindNotice.String():
		c.kind = kindNotice
	case kindLeft.String():
		c.kind = kindLeft
	case kindExpired.String():
		c.kind = kindExpired
	default:
		return fmt.Errorf("%s: unknown value %q", hdrChange, clip(name))
	}
	return nil
}

// decodeRecord reads a stored message, whose body is the whole state.
func decodeRecord(subj subjects, hdr nats.Header, subject string, body []byte, generation uint64) (string, change, error) {
	scope, node, err := subj.parseRecord(subject)
	if err != nil {
		return "", change{}, err
	}
	record, ok := scanRecord(string(body))
	if !ok {
		record = wireRecord{}
		if err := unmarshal(string(body), &record); err != nil {
			return "", change{}, fmt.Errorf("body: %w", err)
		}
	}
	if err := checkFormat(strconv.Itoa(record.Format)); err != nil {
		return "", change{}, err
	}
	if record.Scope != scope || record.Node != node {
		return "", change{}, fmt.Errorf("record is of node %q in scope %q", clip(record.Node), clip(record.Scope))
	}
	c := change{
		kind: kindState, node: node, id: life{record.Incarnation, record.Version}, generation: generation,
	}
	switch record.Gone {
	case "":
		c.roles, c.meta = sorted(record.Roles), record.Meta
	case kindLeft.String():
		c.kind = kindLeft
	case kindExpired.String():
		c.kind = kindExpired
	default:
		return "", change{}, fmt.Errorf("gone for an unknown reason %q", clip(record.Gone))
	}
	// A tombstone is a deleted key for every KV client, so a delete by anything else is not one of ours.
	if deleted := hdr.Get("KV-Operation") != ""; deleted != c.kind.isTombstone() {
		return "", change{}, errors.New("deleted, but not by a tombstone")
	}
	if id := c.id; id.incarnation == 0 || id.incarnation > maxNumber || id.version == 0 || id.version > maxNumber {
		return "", change{}, fmt.Errorf("incarnation %d, version %d: out of range", id.incarnation, id.version)
	}
	if err := checkRoles(c.roles); err != nil {
		return "", change{}, err
	}
	c.share()
	return scope, c, c.checkScheduler(subj, hdr, scope)
}

// checkScheduler refuses what a schedule wrote, unless it is a tombstone from the node's own lease: anybody may aim a
// schedule at any record.
func (c *change) checkScheduler(subj subjects, hdr nats.Header, scope string) error {
	scheduler := told(hdr, "Nats-Scheduler")
	if scheduler == "" || c.kind.isTombstone() && scheduler == subj.lease(scope, c.node) {
		return nil
	}
	return fmt.Errorf("%s written by the schedule %q", c.kind, clip(scheduler))
}

func checkFormat(format string) error {
	if format != strconv.Itoa(wireFormat) {
		return fmt.Errorf("wire format %q, this version reads %d", clip(format), wireFormat)
	}
	return nil
}

// told returns what the server says in a header. It adds its own to those of the message: whoever wrote that may have
// used the same name.
func told(hdr nats.Header, name string) string {
	if values := hdr[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// serverHeaders are those by which the server says what a message is that it hands on.
var serverHeaders = []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Last-Sequence"}

// honest refuses a message that has more of the server's headers than the server added: its writer speaks in the server's
// name, or made the server write it, by asking for another message and giving the record's subject for the answer.
func honest(hdr nats.Header, added int) error {
	for _, name := range serverHeaders {
		if len(hdr[name]) > added {
			return fmt.Errorf("its writer says %s", name)
		}
	}
	return nil
}

func number(text, name string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || n > limit {
		return 0, fmt.Errorf("%s: %q is not a number from 1 to %d", name, clip(text), limit)
	}
	return n, nil
}

func roleList(hdr nats.Header, name string) ([]Role, error) {
	raw := hdr.Get(name)
	if raw == "" {
		return nil, nil
	}
	roles, ok := scanRoles(raw)
	if !ok {
		roles = nil
		if err := unmarshal(raw, &roles); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := checkRoles(roles); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return sorted(roles), nil
}

// share makes the roles and the metadata that a change brings the same in memory as equal text that came before, in this or
// any other scope of the process. Nothing keeps the message alive.
func (c *change) share() {
	c.node = strings.Clone(c.node)
	for _, roles := range [][]Role{c.roles, c.added, c.removed} {
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

func unmarshal(raw string, v any) error {
	if !utf8.ValidString(raw) {
		return errors.New("not UTF-8")
	}
	return json.Unmarshal([]byte(raw), v)
}
