package rolebus

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// The wire form, version 1. A stored message says everything twice, as a JSON object with the same field names: the body is
// the whole state, for whoever reads the bucket; the one header of ours is the change, for whoever hears the announcement,
// which has no body. What an object is, its structure tells. docs/PROTOCOL.md describes both.
const (
	wireFormat = 1
	maxNumber  = 1<<53 - 1 // of an incarnation, a version or a time: what JSON numbers hold exactly in every language
	maxHeader  = 16 << 10  // a server refuses headers over 64 KiB

	header = "Rolebus"
)

// wireChange is one object: a header, or a body.
type wireChange struct {
	Format      uint64            `json:"format"`
	Fleet       string            `json:"fleet,omitempty"` // header: the fleet's identity
	Scope       string            `json:"scope,omitempty"` // body
	Node        string            `json:"node,omitempty"`  // body
	Incarnation uint64            `json:"incarnation"`
	Version     uint64            `json:"version"`
	TTL         uint64            `json:"ttl,omitempty"`     // state: the owner's, in milliseconds
	Base        uint64            `json:"base,omitempty"`    // delta
	Added       []Role            `json:"added,omitempty"`   // delta
	Removed     []Role            `json:"removed,omitempty"` // delta
	Roles       []Role            `json:"roles,omitzero"`    // state
	Meta        map[string]string `json:"meta,omitempty"`    // state
	Gone        string            `json:"gone,omitempty"`    // tombstone: why
	Due         uint64            `json:"due,omitempty"`     // expired: when the lease ended, in milliseconds since 1970 by the server's clock
}

// encode returns the message that stores a change, with our header and the body. The roles and the metadata of the whole
// record come from c even if it is a delta: the body is always the whole state.
func encode(fleet, scope string, c change) *nats.Msg {
	hdr := make(nats.Header, 8) // with those that are added later
	hdr[header] = []string{encodeHeader(fleet, c)}
	return &nats.Msg{Header: hdr, Data: printBody(scope, c)}
}

// encodeHeader returns the value of our header. A change that is too large for one is announced by a notice.
func encodeHeader(fleet string, c change) string {
	value := printHeader(fleet, c)
	if len(value) > maxHeader {
		c.kind = kindNotice
		value = printHeader(fleet, c)
	}
	return string(value)
}

// decodeWire reads an object of ours, written by whomever. What it returns refers to the text.
func decodeWire(text string) (w wireChange, err error) {
	w, ok := scanWire(text)
	if !ok {
		w, err = unmarshalWire(text)
	}
	return w, err
}

// unmarshalWire reads what cannot be scanned. Unlike encoding/json it takes a field's name as it is written, and no null
// for a field that is not there.
func unmarshalWire(text string) (w wireChange, err error) {
	var fields map[string]json.RawMessage
	if err := unmarshal(text, &fields); err != nil {
		return w, err
	}
	if fields == nil {
		return w, errors.New("not an object")
	}
	for _, f := range []struct {
		name string
		into any
	}{
		{"format", &w.Format}, {"fleet", &w.Fleet}, {"scope", &w.Scope}, {"node", &w.Node}, {"incarnation", &w.Incarnation},
		{"version", &w.Version}, {"ttl", &w.TTL}, {"base", &w.Base}, {"added", &w.Added}, {"removed", &w.Removed},
		{"roles", &w.Roles}, {"meta", &w.Meta}, {"gone", &w.Gone}, {"due", &w.Due},
	} {
		raw, there := fields[f.name]
		if !there {
			continue
		}
		if err = json.Unmarshal(raw, f.into); err == nil && string(raw) == "null" {
			err = errors.New("it is null")
		}
		if err != nil {
			return w, fmt.Errorf("%q: %w", f.name, err)
		}
		// What is there, though empty, tells what the object is.
		switch f.name {
		case "base", "due":
			if number := f.into.(*uint64); *number == 0 {
				return w, fmt.Errorf("%q is 0", f.name)
			}
		case "gone":
			if w.Gone == "" {
				return w, errors.New("gone for no reason")
			}
		}
	}
	return w, nil
}

// change returns what an object says, once it is known to be of a node.
func (w *wireChange) change() (c change, err error) {
	if err := checkFormat(w.Format); err != nil {
		return c, err
	}
	c = change{id: life{w.Incarnation, w.Version}}
	switch {
	case w.Roles != nil:
		c.kind, c.roles, c.meta = kindState, sorted(w.Roles), w.Meta
		if c.ttl, err = w.ttl(); err != nil {
			return c, err
		}
	case w.Base != 0:
		c.kind, c.base, c.added, c.removed = kindDelta, w.Base, sorted(w.Added), sorted(w.Removed)
	case w.Gone == kindLeft.String():
		c.kind = kindLeft
	case w.Gone == kindExpired.String():
		c.kind, c.due = kindExpired, time.UnixMilli(int64(min(w.Due, maxNumber))).UTC()
	case w.Gone != "":
		return c, fmt.Errorf("gone for an unknown reason %q", clip(w.Gone))
	default:
		c.kind = kindNotice
	}
	return c, w.check(&c)
}

func checkFormat(format uint64) error {
	return check(format == wireFormat, "wire format %d, this version reads %d", format, wireFormat)
}

// check says what is wrong with an object that means a change.
func (w *wireChange) check(c *change) error {
	for _, n := range []struct {
		name   string
		number uint64
		needed bool
	}{
		{"incarnation", w.Incarnation, true}, {"version", w.Version, true}, {"base", w.Base, false},
		{"due", w.Due, c.kind == kindExpired},
	} {
		if n.number > maxNumber || n.needed && n.number == 0 {
			return fmt.Errorf("%s %d: not from 1 to %d", n.name, n.number, uint64(maxNumber))
		}
	}
	switch several := c.kind == kindState && (w.Base != 0 || w.Gone != "") || w.Base != 0 && w.Gone != ""; {
	case several:
		return errors.New("more than one of roles, base and gone")
	case c.kind != kindState && w.Meta != nil:
		return errors.New("metadata without roles")
	case c.kind != kindDelta && (w.Added != nil || w.Removed != nil):
		return errors.New("roles added or removed, but no base")
	case c.kind != kindExpired && w.Due != 0:
		return errors.New("due, but not expired")
	case c.kind == kindDelta && c.base >= c.id.version:
		return fmt.Errorf("version %d follows version %d", c.id.version, c.base)
	}
	for key := range c.meta {
		if key == "" {
			return errors.New("metadata: a key is empty")
		}
	}
	return errors.Join(checkRoles(c.roles), checkRoles(c.added), checkRoles(c.removed))
}

// ttl returns the owner's TTL.
func (w *wireChange) ttl() (time.Duration, error) {
	ttl := time.Duration(min(w.TTL, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
	return ttl, checkTTL(ttl)
}

// unmarshal reads JSON from elsewhere. It refuses what encoding/json would put U+FFFD for: unseen, different texts would
// become one.
func unmarshal(raw string, v any) error {
	switch {
	case !utf8.ValidString(raw):
		return errors.New("not UTF-8")
	case halfPair(raw):
		return errors.New("half a surrogate pair is no text")
	}
	return json.Unmarshal([]byte(raw), v)
}

// halfPair says whether a JSON text has an escaped half of a surrogate pair without its other half.
func halfPair(raw string) bool {
	for {
		at := strings.IndexByte(raw, '\\')
		if at < 0 || at+1 == len(raw) {
			return false
		}
		first := surrogate(raw[at:])
		raw = raw[at+2:]
		switch first {
		case 0:
		case 'h':
			if len(raw) < 4 || surrogate(raw[4:]) != 'l' {
				return true
			}
			raw = raw[4+6:]
		default:
			return true
		}
	}
}

// surrogate says whether a text begins with an escaped surrogate: 'h' a high one, 'l' a low one, else 0.
func surrogate(text string) byte {
	if len(text) < 6 || text[:2] != `\u` || text[2]|' ' != 'd' {
		return 0
	}
	switch text[3] | ' ' {
	case '8', '9', 'a', 'b':
		return 'h'
	case 'c', 'd', 'e', 'f':
		return 'l'
	}
	return 0
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
