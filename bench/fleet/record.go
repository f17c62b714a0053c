package main

import (
	"encoding/json"
	"strconv"

	"github.com/nats-io/nats.go"
)

// What the loader stores: records and leases in the form that docs/PROTOCOL.md describes.

const (
	extraRole = "standby" // sorts behind the others
	loadedTTL = 3_600_000
)

// fact is one JSON object of that form: the header, or the body. Its fields stand in the order in which rolebus writes them.
type fact struct {
	Format      int      `json:"format"`
	Fleet       string   `json:"fleet,omitempty"`
	Scope       string   `json:"scope,omitempty"`
	Node        string   `json:"node,omitempty"`
	Incarnation int64    `json:"incarnation"`
	Version     uint64   `json:"version"`
	TTL         int64    `json:"ttl,omitempty"`
	Base        uint64   `json:"base,omitempty"`
	Added       []string `json:"added,omitempty"`
	Removed     []string `json:"removed,omitempty"`
	Roles       []string `json:"roles,omitzero"`
	Gone        string   `json:"gone,omitempty"`
	Due         int64    `json:"due,omitempty"`
}

// whole is a record.
func (l *loader) whole(n *node) *nats.Msg {
	return l.record(n, fact{TTL: loadedTTL, Roles: n.roles})
}

// toggle gives a node one role more, or takes it away again.
func (l *loader) toggle(n *node) *nats.Msg {
	delta := fact{Base: n.version}
	n.version, n.extra = n.version+1, !n.extra
	if n.extra {
		n.roles = append(n.roles, extraRole)
		delta.Added = []string{extraRole}
	} else {
		n.roles = n.roles[:rolesPerNode]
		delta.Removed = []string{extraRole}
	}
	return l.record(n, delta)
}

func (l *loader) record(n *node, change fact) *nats.Msg {
	msg := l.message("$KV."+bucket+"."+l.scope+"."+n.name, n, n.version, change, fact{TTL: loadedTTL, Roles: n.roles})
	msg.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(n.generation, 10))
	return msg
}

func (l *loader) lease(n *node, due int64, at string) *nats.Msg {
	record := "$KV." + bucket + "." + l.scope + "." + n.name
	gone := fact{Gone: "expired", Due: due}
	msg := l.message("$KV."+bucket+"=lease."+l.scope+"."+n.name, n, n.version+1000, gone, gone)
	for name, value := range map[string]string{
		"KV-Operation":                                "DEL",
		"Nats-Expected-Last-Subject-Sequence":         strconv.FormatUint(n.generation, 10),
		"Nats-Expected-Last-Subject-Sequence-Subject": record,
		"Nats-Schedule":                               "@at " + at,
		"Nats-Schedule-TTL":                           "1h",
		"Nats-Schedule-Target":                        record,
	} {
		msg.Header.Set(name, value)
	}
	return msg
}

func (l *loader) message(subject string, n *node, version uint64, header, body fact) *nats.Msg {
	for _, f := range []*fact{&header, &body} {
		f.Format, f.Incarnation, f.Version = 1, l.life, version
	}
	header.Fleet, body.Scope, body.Node = l.fleet, l.scope, n.name
	msg := nats.NewMsg(subject)
	msg.Header.Set("Rolebus", string(printed(header)))
	msg.Data = printed(body)
	return msg
}

func printed(f fact) []byte {
	raw, err := json.Marshal(f)
	if err != nil {
		panic(err) // of numbers and texts
	}
	return raw
}
