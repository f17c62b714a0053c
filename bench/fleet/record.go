package main

import (
	"encoding/json"
	"strconv"

	"github.com/nats-io/nats.go"
)

// What the loader stores: records and leases in the form that docs/PROTOCOL.md describes.

const extraRole = "standby" // sorts behind the others

// toggle gives a node one role more, or takes it away again.
func (l *loader) toggle(n *node) *nats.Msg {
	header := map[string]string{"Rolebus-Base": strconv.FormatUint(n.version, 10)}
	n.version, n.extra = n.version+1, !n.extra
	if n.extra {
		n.roles = append(n.roles, extraRole)
		header["Rolebus-Added"] = list([]string{extraRole})
	} else {
		n.roles = n.roles[:rolesPerNode]
		header["Rolebus-Removed"] = list([]string{extraRole})
	}
	return l.record(n, "delta", header)
}

// body is what is stored of a node.
type body struct {
	Format      int      `json:"format"`
	Scope       string   `json:"scope"`
	Node        string   `json:"node"`
	Incarnation int64    `json:"incarnation"`
	Version     uint64   `json:"version"`
	Roles       []string `json:"roles,omitzero"`
	Gone        string   `json:"gone,omitempty"`
}

func (l *loader) record(n *node, kind string, header map[string]string) *nats.Msg {
	msg := l.message("$KV."+bucket+"."+l.scope+"."+n.name, n, kind, n.version, body{Roles: n.roles})
	msg.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(n.generation, 10))
	for name, value := range header {
		msg.Header.Set(name, value)
	}
	return msg
}

func (l *loader) lease(n *node, due string) *nats.Msg {
	record := "$KV.rolebus." + l.scope + "." + n.name
	msg := l.message(bucket+".lease."+l.scope+"."+n.name, n, "expired", n.version+1000, body{Gone: "expired"})
	for name, value := range map[string]string{
		"KV-Operation":                                "DEL",
		"Nats-Expected-Last-Subject-Sequence":         strconv.FormatUint(n.generation, 10),
		"Nats-Expected-Last-Subject-Sequence-Subject": record,
		"Nats-Schedule":                               "@at " + due,
		"Nats-Schedule-TTL":                           "1h",
		"Nats-Schedule-Target":                        record,
		"Rolebus-Due":                                 due,
	} {
		msg.Header.Set(name, value)
	}
	return msg
}

func (l *loader) message(subject string, n *node, kind string, version uint64, b body) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Header.Set("Rolebus-Format", "1")
	msg.Header.Set("Rolebus-Change", kind)
	msg.Header.Set("Rolebus-Incarnation", strconv.FormatInt(l.life, 10))
	msg.Header.Set("Rolebus-Version", strconv.FormatUint(version, 10))
	b.Format, b.Scope, b.Node, b.Incarnation, b.Version = 1, l.scope, n.name, l.life, version
	raw, err := json.Marshal(b)
	if err != nil {
		panic(err) // of numbers and texts
	}
	msg.Data = raw
	return msg
}

func list(roles []string) string {
	raw, err := json.Marshal(roles)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
