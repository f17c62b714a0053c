package rolebus

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
)

// wireBytes returns headers as they come from a server, those of the message and those that the server adds.
func wireBytes(hdr nats.Header, added ...string) []byte {
	raw := []byte("NATS/1.0\r\n")
	for _, name := range slices.Sorted(maps.Keys(hdr)) {
		raw = fmt.Appendf(raw, "%s: %s\r\n", name, hdr[name][0])
	}
	for i := 0; i < len(added); i += 2 {
		raw = fmt.Appendf(raw, "%s: %s\r\n", added[i], added[i+1])
	}
	return append(raw, "\r\n"...)
}

// BenchmarkAnnouncement measures what one announcement costs whoever hears it, in a scope of 1,000 nodes with four roles each.
//
//	Delta: a node gains a role
//	State: a node begins another life
//	Parse: nats.go reads the headers; Decode: and they become a change; Apply: and that a snapshot
//
// bytes/msg is the size of the headers, of which an announcement consists.
func BenchmarkAnnouncement(b *testing.B) {
	k := benchKV()
	snap := fleetOf(1000)
	n := snap.named.get(nodeName(500))
	for _, bm := range []struct {
		name string
		c    change
	}{
		{"Delta", change{kind: kindDelta, node: n.name, id: life{n.id.incarnation, n.id.version + 1}, base: n.id.version, ttl: cacheTTL, roles: merge(n.roles, []Role{"new"}, nil), added: []Role{"new"}}},
		{"State", change{kind: kindState, node: n.name, id: life{n.id.incarnation + 1, 1}, ttl: cacheTTL, roles: n.roles}},
	} {
		hdr := recordMessage(k.subj, wireFleet, "default", bm.c, n.generation).Header
		subject := k.subj.record("default", n.name)
		msg := &nats.Msg{Subject: "rolebus.changes.default." + n.name}
		raw := wireBytes(hdr, "Nats-Stream", k.subj.stream(), "Nats-Subject", subject, "Nats-Sequence", "2001",
			"Nats-Time-Stamp", "2026-11-25T10:00:00.123456789Z", "Nats-Last-Sequence", "501", "Nats-Msg-Size", "123")
		parse := func() {
			parsed, err := nats.DecodeHeadersMsg(raw)
			if err != nil {
				b.Fatal(err)
			}
			msg.Header = parsed
		}
		decode := func() change {
			parse()
			h := readHeaders(msg.Header)
			_, c, err := decodeAnnouncement(k.subj, k.fleet.current(), h, msg.Subject)
			if err != nil || !h.complete(len(raw)) {
				b.Fatal("not decoded: ", err)
			}
			return c
		}
		b.Run(bm.name+"/Parse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parse()
			}
			b.ReportMetric(float64(len(raw)), "bytes/msg")
		})
		b.Run(bm.name+"/Decode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decode()
			}
		})
		b.Run(bm.name+"/Apply", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if next, _ := snap.apply(news{changes: []change{decode()}, now: cacheEpoch, calm: forEver}); next == snap {
					b.Fatal("not applied")
				}
			}
		})
	}
}

// BenchmarkRecord measures what one stored record costs a reading, with two roles, and what 10,000 do to be applied at once.
//
//	Parse:  nats.go reads the headers; Decode: and headers and body become a change
//	Reading: 10,000 records, decoded already, become a snapshot; ns/record is for each
func BenchmarkRecord(b *testing.B) {
	k := benchKV()
	c := stateOf(nodeName(500), 1_795_263_643_971, 1, 0, "api", "worker")
	msg := recordMessage(k.subj, wireFleet, "default", c, 0)
	hdr, body := msg.Header, msg.Data
	raw, subject := wireBytes(hdr), k.subj.record("default", c.node)
	parse := func() nats.Header {
		parsed, err := nats.DecodeHeadersMsg(raw)
		if err != nil {
			b.Fatal(err)
		}
		return parsed
	}
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parse()
		}
		b.ReportMetric(float64(len(raw)+len(body)), "bytes/msg")
	})
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h := readHeaders(parse())
			m := message{headers: h, garbled: !h.complete(len(raw)), subject: subject, body: body, generation: 7, stored: cacheEpoch}
			if _, _, ok := k.decodeStored(m); !ok {
				b.Fatal("not decoded")
			}
		}
	})
	b.Run("Reading", func(b *testing.B) {
		changes := make([]change, 10_000)
		for i := range changes {
			changes[i] = stateOf(nodeName(i), 1, 1, uint64(i+1), "api", "worker")
		}
		b.ReportAllocs()
		for b.Loop() {
			snap, _ := newSnapshot("s", "").apply(news{changes: changes, whole: true, now: cacheEpoch, calm: forEver})
			if snap.members.len() != len(changes) {
				b.Fatal("not applied")
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(changes)), "ns/record")
	})
}

func benchKV() *kv {
	log := slog.New(slog.DiscardHandler)
	k := &kv{subj: wire, noise: newNoise(log), fleet: newIdentity(wire.bucket, log, func() {})}
	k.fleet.learn(wireFleet)
	return k
}
