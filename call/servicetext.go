package call

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/rolebus/rolebus"
)

// What a node's service says of itself, as ADR-32 of NATS has it. Pure.

// serviceVersion is that of the form of the answers: services must have one, and a program's own is its own affair.
const serviceVersion = "1.0.0"

// served is a method as its service tells of it.
type served struct {
	method  string
	subject string // where this life of the node hears it
	stats   EndpointStats
}

// serviceOf is the identity of the service that a life of a node is, in a scope.
func serviceOf(bucket, scope, node string, incarnation uint64) micro.ServiceIdentity {
	life := strconv.FormatUint(incarnation, 10)
	return micro.ServiceIdentity{
		Name:     serviceName(bucket + "-" + scope),
		ID:       rolebus.SubjectToken(node) + "-" + life,
		Version:  serviceVersion,
		Metadata: map[string]string{"bucket": bucket, "scope": scope, "node": node, "incarnation": life},
	}
}

// serviceName makes of any name one that ADR-32 allows, and no two the same.
func serviceName(name string) string {
	out := []byte(name)
	odd := false
	for i, c := range out {
		if !mayStand(c) {
			out[i], odd = '_', true
		}
	}
	if !odd {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return string(out) + "-" + hex.EncodeToString(sum[:4])
}

func mayStand(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func pingOf(id micro.ServiceIdentity) micro.Ping {
	return micro.Ping{ServiceIdentity: id, Type: micro.PingResponseType}
}

func infoOf(id micro.ServiceIdentity, methods []served) micro.Info {
	info := micro.Info{
		ServiceIdentity: id, Type: micro.InfoResponseType,
		Description: fmt.Sprintf("node %q in scope %q", id.Metadata["node"], id.Metadata["scope"]),
		Endpoints:   []micro.EndpointInfo{}, // never null
	}
	for _, m := range byMethod(methods) {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{
			Name: serviceName(m.method), Subject: m.subject, Metadata: map[string]string{"method": m.method},
		})
	}
	return info
}

// servedData is what ADR-32 has no field for.
type servedData struct {
	Refused uint64    `json:"refused"`
	Running int       `json:"running"`
	Waiting int       `json:"waiting"`
	Since   time.Time `json:"since"`
}

func statsOf(id micro.ServiceIdentity, methods []served) micro.Stats {
	stats := micro.Stats{ServiceIdentity: id, Type: micro.StatsResponseType, Endpoints: []*micro.EndpointStats{}}
	for _, m := range byMethod(methods) {
		s := m.stats
		each := &micro.EndpointStats{
			Name: serviceName(m.method), Subject: m.subject, NumRequests: int(s.Requests), NumErrors: int(s.Errors), LastError: s.LastError,
			ProcessingTime: s.Time,
		}
		if s.Requests > 0 {
			each.AverageProcessingTime = s.Time / time.Duration(s.Requests)
		}
		each.Data, _ = json.Marshal(servedData{s.Refused, s.Running, s.Waiting, s.Since.UTC()})
		stats.Endpoints = append(stats.Endpoints, each)
		if since := s.Since.UTC(); stats.Started.IsZero() || since.Before(stats.Started) {
			stats.Started = since // what is counted was counted since then
		}
	}
	return stats
}

func byMethod(methods []served) []served {
	return slices.SortedFunc(slices.Values(methods), func(a, b served) int { return strings.Compare(a.method, b.method) })
}
