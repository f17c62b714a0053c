package rolebus

import (
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// How nodes, snapshots and events are read by people and by other programs: as text, as JSON, and in a log. What has value
// receivers here is the same as a value and by a pointer; a nil pointer is null in JSON and <nil> for fmt. Where a log value
// has a pointer receiver it is because slog, unlike these, would call it on nil. A Bus and a Scope name themselves because fmt
// would go through all that they hold, without a lock.

// String returns the node's name and the bucket, such as "node api-1 in bucket rolebus".
func (b *Bus) String() string {
	if b.made() != nil {
		return "no bus"
	}
	return "node " + b.opts.node + " in bucket " + b.opts.bucket
}

// LogValue makes the Bus a group in a log: its node's name and the bucket.
func (b *Bus) LogValue() slog.Value {
	if b.made() != nil {
		return slog.Value{}
	}
	return slog.GroupValue(slog.String("node", b.opts.node), slog.String("bucket", b.opts.bucket))
}

// String returns the scope's name and that of this process's node, such as "scope jobs of node api-1".
func (s *Scope) String() string {
	if s.made() != nil {
		return "no scope"
	}
	return "scope " + s.name + " of node " + s.bus.opts.node
}

// LogValue makes the scope a group in a log: its name, as scope, and that of this process's node.
func (s *Scope) LogValue() slog.Value {
	if s.made() != nil {
		return slog.Value{}
	}
	return slog.GroupValue(slog.String("scope", s.name), slog.String("node", s.bus.opts.node))
}

// AllMeta yields the node's metadata, sorted by key.
func (n *Node) AllMeta() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(n.meta)) {
			if !yield(key, n.meta[key]) {
				return
			}
		}
	}
}

// String returns the node's name.
func (n Node) String() string { return n.name }

// MarshalJSON writes the node as an object with its name, incarnation, generation, roles (a list, also if there are none), and
// its metadata as meta, left out if there is none.
func (n Node) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name        string            `json:"name"`
		Incarnation uint64            `json:"incarnation"`
		Generation  uint64            `json:"generation"`
		Roles       Roles             `json:"roles"`
		Meta        map[string]string `json:"meta,omitempty"`
	}{n.name, n.id.incarnation, n.generation, n.Roles(), n.meta})
}

// UnmarshalJSON makes the node of what MarshalJSON writes, as [NewNode] does of a [NodeState], and fails as that does. Only for
// a new Node: one that others may read never changes, and they take no lock.
func (n *Node) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil // as encoding/json has it
	}
	var state NodeState
	err := unmarshal(string(raw), &state)
	if err != nil {
		return failed("node of JSON", err)
	}
	made, err := state.node()
	if err != nil {
		return failed("node of JSON", err)
	}
	*n = *made
	return nil
}

// LogValue makes the node a group in a log: its name, incarnation and roles.
func (n *Node) LogValue() slog.Value {
	if n == nil {
		return slog.Value{}
	}
	return slog.GroupValue(slog.String("name", n.name), slog.Uint64("incarnation", n.id.incarnation), slog.Any("roles", n.Roles()))
}

// MarshalJSON writes the nodes as a list, also if there are none.
func (ns Nodes) MarshalJSON() ([]byte, error) { return marshalList(ns.list) }

// MarshalJSON writes the roles as a list, also if there are none.
func (rs Roles) MarshalJSON() ([]byte, error) { return marshalList(rs.list) }

// marshalList writes a nil slice as an empty list, which every language can go through.
func marshalList[T any](list []T) ([]byte, error) {
	if len(list) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal(list)
}

// String returns the scope's name and what a line has room for: how many nodes and suspects there are, and for how long the
// snapshot has been stale.
func (snap Snapshot) String() string {
	text := fmt.Sprintf("scope %q, nodes: %d", snap.scope, snap.members.len())
	if n := len(snap.suspects); n > 0 {
		text += fmt.Sprintf(", suspects: %d", n)
	}
	if stale := snap.Stale(); stale > 0 {
		text += fmt.Sprintf(", stale for %v", stale.Round(time.Millisecond))
	}
	return text
}

// MarshalJSON writes the snapshot as an object: its scope; whether it is joined; stale, in milliseconds, left out while all is
// well; every node that is there, also those without roles, as nodes; and the suspects, left out if there are none.
func (snap Snapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Scope    string  `json:"scope"`
		Joined   bool    `json:"joined"`
		Stale    int64   `json:"stale,omitempty"`
		Nodes    Nodes   `json:"nodes"`
		Suspects []*Node `json:"suspects,omitempty"`
	}{snap.scope, snap.joined, snap.staleMillis(), snap.Members(), snap.suspects})
}

// UnmarshalJSON makes the snapshot of what MarshalJSON writes, as [NewSnapshot] does of nodes, and fails as that does. It is
// joined if that one was, keeps its suspects, and has been stale for as long as that one had when it was written. Only for a
// new Snapshot: one that others may read never changes, and they take no lock.
func (snap *Snapshot) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil // as encoding/json has it
	}
	var state snapshotState
	err := unmarshal(string(raw), &state)
	if err != nil {
		return failed("snapshot of JSON", err)
	}
	made, err := state.snapshot()
	if err != nil {
		return failed("snapshot of JSON", err)
	}
	*snap = *made
	return nil
}

// snapshotState is what is read of a snapshot's JSON.
type snapshotState struct {
	Scope    string  `json:"scope"`
	Joined   bool    `json:"joined"`
	Stale    int64   `json:"stale"`
	Nodes    []*Node `json:"nodes"`
	Suspects []*Node `json:"suspects"`
}

func (state snapshotState) snapshot() (*Snapshot, error) {
	const longest = int64(math.MaxInt64 / time.Millisecond)
	if state.Stale < 0 || state.Stale > longest {
		return nil, fmt.Errorf("stale %d: not from 0 to %d", state.Stale, longest)
	}
	// With the suspects, for what is wrong with any of them; those are listed nowhere.
	if _, err := assemble(state.Scope, slices.Concat(state.Nodes, state.Suspects)); err != nil {
		return nil, err
	}
	snap, err := assemble(state.Scope, state.Nodes)
	if err != nil {
		return nil, err
	}
	snap.joined = state.Joined
	if len(state.Suspects) > 0 {
		snap.suspects = state.Suspects
		slices.SortFunc(snap.suspects, func(n, other *Node) int { return strings.Compare(n.name, other.name) })
	}
	if state.Stale > 0 {
		snap.stale = time.Now().Add(-time.Duration(state.Stale) * time.Millisecond)
	}
	return snap, nil
}

// staleMillis is never 0 of a snapshot that is stale.
func (snap *Snapshot) staleMillis() int64 {
	return int64((snap.Stale() + time.Millisecond - 1) / time.Millisecond)
}

// LogValue makes the snapshot a group in a log: its scope, how many nodes and suspects it has, and for how long it has been
// stale; the last two are left out if there is nothing to tell.
func (snap *Snapshot) LogValue() slog.Value {
	if snap == nil {
		return slog.Value{}
	}
	attrs := []slog.Attr{slog.String("scope", snap.scope), slog.Int("nodes", snap.members.len())}
	if n := len(snap.suspects); n > 0 {
		attrs = append(attrs, slog.Int("suspects", n))
	}
	if stale := snap.Stale(); stale > 0 {
		attrs = append(attrs, slog.Duration("stale", stale))
	}
	return slog.GroupValue(attrs...)
}

// String returns what happened, such as "RoleRemoved api-1 web expired": the kind, the node, the role and the reason, as far as
// there are any.
func (ev Event) String() string {
	parts := []string{ev.Kind.String()}
	if ev.Node != nil {
		parts = append(parts, ev.Node.name)
	}
	for _, part := range []string{string(ev.Role), ev.Reason.String()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

// MarshalJSON writes the event as an object: kind, scope, node (the whole of it), role, reason and generation, each left out if
// it is empty.
func (ev Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind       EventKind `json:"kind,omitzero"`
		Scope      string    `json:"scope,omitempty"`
		Node       *Node     `json:"node,omitempty"`
		Role       Role      `json:"role,omitempty"`
		Reason     Reason    `json:"reason,omitzero"`
		Generation uint64    `json:"generation,omitempty"`
	}{ev.Kind, ev.Scope, ev.Node, ev.Role, ev.Reason, ev.Generation})
}

// LogValue makes the event a group in a log: its kind, scope, the node's name, role, reason and generation, each but the kind
// left out if it is empty.
func (ev Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", ev.Kind.String())}
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("scope", ev.Scope)
	if ev.Node != nil {
		text("node", ev.Node.name)
	}
	text("role", string(ev.Role))
	text("reason", ev.Reason.String())
	if ev.Generation > 0 {
		attrs = append(attrs, slog.Uint64("generation", ev.Generation))
	}
	return slog.GroupValue(attrs...)
}

// MarshalText returns the kind's name, as String does, or "" for the zero kind. An unknown kind is an error.
func (k EventKind) MarshalText() ([]byte, error) { return marshalName(k) }

// UnmarshalText is the inverse of MarshalText.
func (k *EventKind) UnmarshalText(text []byte) (err error) {
	*k, err = unmarshalName[EventKind](text)
	return err
}

// MarshalText returns the reason's word, as String does, or "" for the zero reason. An unknown reason is an error.
func (r Reason) MarshalText() ([]byte, error) { return marshalName(r) }

// UnmarshalText is the inverse of MarshalText.
func (r *Reason) UnmarshalText(text []byte) (err error) {
	*r, err = unmarshalName[Reason](text)
	return err
}

// MarshalText returns the kind's word, as String does, or "" for the zero kind. An unknown kind is an error.
func (k SyncKind) MarshalText() ([]byte, error) { return marshalName(k) }

// UnmarshalText is the inverse of MarshalText.
func (k *SyncKind) UnmarshalText(text []byte) (err error) {
	*k, err = unmarshalName[SyncKind](text)
	return err
}

// MarshalText returns the end's word, as String does, or "" for the zero end. An unknown end is an error.
func (e SuspicionEnd) MarshalText() ([]byte, error) { return marshalName(e) }

// UnmarshalText is the inverse of MarshalText.
func (e *SuspicionEnd) UnmarshalText(text []byte) (err error) {
	*e, err = unmarshalName[SuspicionEnd](text)
	return err
}

// named are numbers from 1 on that have names; those that have none, and 0, share one.
type named interface {
	~int
	fmt.Stringer
}

func marshalName[T named](v T) ([]byte, error) {
	switch {
	case v == 0:
		return []byte{}, nil
	case v.String() == T(0).String():
		return nil, failed(fmt.Sprintf("%T as text", v), fmt.Errorf("%d is unknown", int(v)))
	}
	return []byte(v.String()), nil
}

func unmarshalName[T named](text []byte) (T, error) {
	if len(text) == 0 {
		return 0, nil
	}
	for v := T(1); v.String() != T(0).String(); v++ {
		if v.String() == string(text) {
			return v, nil
		}
	}
	return 0, failed(fmt.Sprintf("%T of text", T(0)), fmt.Errorf("%q is unknown", clip(string(text))))
}
