package rolebus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// The wire form of entries: as with records the body is for whoever reads the bucket, and our header for whoever hears the announcement.

// place is where an entry stands.
type place struct{ scope, kind, name string }

// compactValue returns a value as it is stored: JSON on one line, since it stands in a header, too.
func compactValue(value string) (string, error) {
	var out bytes.Buffer
	var raw json.RawMessage
	if err := unmarshal(value, &raw); err != nil {
		return "", fmt.Errorf("the value is no JSON: %w", err)
	}
	if err := json.Compact(&out, raw); err != nil {
		return "", fmt.Errorf("the value is no JSON: %w", err)
	}
	if out.Len() > maxEntry {
		return "", fmt.Errorf("%w: the value takes %d bytes, at most %d", ErrTooLarge, out.Len(), maxEntry)
	}
	return out.String(), nil
}

// entryMessage stores an entry, or that it was removed, in the place of what is of a generation.
func entryMessage(subj subjects, fleet string, at place, value string, removed bool, replaces uint64) *nats.Msg {
	start := func(more int) []byte {
		out := append(make([]byte, 0, more+len(value)), `{"format":`...)
		return strconv.AppendInt(out, wireFormat, 10)
	}
	field := func(out []byte, name, text string) []byte {
		return printText(append(append(append(out, `,"`...), name...), `":`...), text)
	}
	end := func(out []byte) []byte {
		if value != "" {
			out = append(append(out, `,"value":`...), value...)
		}
		return append(out, '}')
	}
	body := field(field(field(start(256), "scope", at.scope), "kind", at.kind), "name", at.name)
	msg := nats.NewMsg(subj.entry(at))
	msg.Header[header] = []string{string(end(field(start(64), "fleet", fleet)))}
	msg.Data = end(body)
	if removed {
		msg.Header["KV-Operation"] = []string{"DEL"}
		msg.Header["Nats-TTL"] = []string{tombstoneTTL}
	}
	expect(msg, replaces)
	return msg
}

// wireEntry is one object: a header, or a body.
type wireEntry struct {
	format                          uint64
	fleet, scope, kind, name, value string
}

func decodeWireEntry(text string) (w wireEntry, err error) {
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
	}{{"format", &w.format}, {"fleet", &w.fleet}, {"scope", &w.scope}, {"kind", &w.kind}, {"name", &w.name}} {
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
	}
	if raw, there := fields["value"]; there {
		if w.value, err = compactValue(string(raw)); err != nil {
			return w, err
		}
	}
	return w, checkFormat(w.format)
}

// errForeignMarker says that a KV client has deleted the key, who knows nothing of entries.
var errForeignMarker = errors.New("deleted by somebody else")

// isMarker says whether a key counts as deleted.
func (h *headers) isMarker() bool { return h.operation == "DEL" || h.operation == "PURGE" }

// checkEntry says why a message is no entry, whatever it says.
func (h *headers) checkEntry(added int) error {
	switch {
	case h.scheduler != "": // anybody may aim a schedule anywhere
		return fmt.Errorf("written by the schedule %q", clip(h.scheduler))
	case h.operation != "" && !h.isMarker():
		return fmt.Errorf("marked by %q", clip(h.operation))
	}
	return h.honest(added)
}

// decodeEntryNews reads what the server republished for an entry that was stored in the bucket of a fleet. Where an error comes with a name, what
// stands there is not told by the announcement, and is to be looked at.
func decodeEntryNews(subj subjects, fleet string, h headers, subject, scope, kind string) (e Entry, err error) {
	name, err := subj.parseEntryChange(subject, scope, kind)
	if err != nil {
		return Entry{}, err
	}
	if err = h.honest(1); err != nil {
		return Entry{Name: name}, err
	}
	if h.stream != subj.stream() {
		return Entry{}, fmt.Errorf("not republished by stream %q but by %q", subj.stream(), clip(h.stream))
	}
	if !subj.announces(subject, h.subject) {
		return Entry{}, fmt.Errorf("announces the record %q", clip(h.subject))
	}
	generation, err := number(h.sequence, "Nats-Sequence", 1<<63)
	if err != nil {
		return Entry{}, err
	}
	e = Entry{Name: name, Generation: generation, Removed: h.isMarker(), Stored: h.storedAt()}
	switch {
	case len(h.ours) == 0 && h.isMarker():
		return e, errForeignMarker
	case len(h.ours) != 1:
		return e, fmt.Errorf("%d headers %s", len(h.ours), header)
	}
	w, err := decodeWireEntry(h.ours[0])
	if err != nil {
		return e, fmt.Errorf("header: %w", err)
	}
	if w.fleet != fleet {
		return Entry{}, &strangerError{clip(w.fleet)}
	}
	if w.value == "" && !e.Removed {
		return e, errors.New("header: no value")
	}
	e.Value = w.value
	return e, h.checkEntry(1)
}

// decodeStoredEntry reads what stands in the bucket, of which there is an Entry also if it is none of ours: then an error says why.
func decodeStoredEntry(m message, at place) (e Entry, err error) {
	e = Entry{Name: at.name, Generation: m.generation}
	if e.Stored, err = m.storedAt(); err != nil {
		return e, fmt.Errorf("when it was stored: %w", err)
	}
	if m.garbled {
		return e, errGarbled
	}
	if err := m.headers.checkEntry(m.added); err != nil {
		return e, err
	}
	if e.Removed = m.headers.isMarker(); e.Removed && len(m.headers.ours) == 0 {
		return e, nil
	}
	w, err := decodeWireEntry(string(m.body))
	switch {
	case err != nil:
		return e, fmt.Errorf("body: %w", err)
	case place{w.scope, w.kind, w.name} != at:
		return e, fmt.Errorf("entry is of kind %q, name %q, in scope %q", clip(w.kind), clip(w.name), clip(w.scope))
	case w.value == "" && !e.Removed:
		return e, errors.New("body: no value")
	}
	e.Value = w.value
	return e, nil
}
