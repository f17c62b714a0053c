package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// All systems store records of the same form and size, that of rolebus, whatever they call them.

const recordSize = 200

// firstIncarnation is where a node's life may begin: any number that is as long as a real one.
const firstIncarnation = 1_795_263_643_971

// pad is metadata that makes the record of a node named "writer" as large as recordSize, while it has the role "role".
var pad = strings.Repeat("x", recordSize-len(paddedRecord(2, "")))

func paddedRecord(version int, pad string) []byte {
	return fmt.Appendf(nil,
		`{"format":1,"scope":"default","node":"writer","incarnation":%d,"version":%d,"ttl":15000,"roles":["role"],"meta":{"pad":%q}}`,
		firstIncarnation, version, pad)
}

// record is the nth state of the one record that is changed.
func record(n int) []byte { return paddedRecord(n, pad) }

// recordNumber reads which state a record is.
func recordNumber(raw []byte) (int, error) {
	var r struct {
		Version int `json:"version"`
	}
	err := json.Unmarshal(raw, &r)
	return r.Version, err
}

// nodeRecord is the record of one of many nodes.
func nodeRecord(scope, node string, roles ...string) ([]byte, error) {
	return json.Marshal(struct {
		Format      int      `json:"format"`
		Scope       string   `json:"scope"`
		Node        string   `json:"node"`
		Incarnation int      `json:"incarnation"`
		Version     int      `json:"version"`
		TTL         int      `json:"ttl"`
		Roles       []string `json:"roles"`
	}{1, scope, node, firstIncarnation, 1, 15_000, roles})
}

// nodeHeader is what rolebus stores beside it, for the announcement.
func nodeHeader(fleet string, roles ...string) (nats.Header, error) {
	list, err := json.Marshal(roles)
	return nats.Header{
		"Nats-Expected-Last-Subject-Sequence": {"0"},
		"Rolebus":                             {fmt.Sprintf(`{"format":1,"fleet":%q,"incarnation":%d,"version":1,"ttl":15000,"roles":%s}`, fleet, firstIncarnation, list)},
	}, err
}

func nodeName(i int) string { return fmt.Sprintf("node-%05d", i) }
