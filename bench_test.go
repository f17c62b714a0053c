package rolebus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// quantiles reports the median and the 99th percentile of what was measured.
func quantiles(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[min(len(took)-1, int(q*float64(len(took))))].Nanoseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}

func serve(b *testing.B) string {
	b.Helper()
	srv, err := embedded.Start()
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, srv.Close()) })
	return srv.URL()
}

// BenchmarkChange measures, on one server, what a change of roles costs beside the floor that JetStream sets: a raw
// publish and its acknowledgement.
//
//	Publish: a message of a record's size is published to a KV stream and acknowledged
//	Call:    AddRoles or RemoveRoles, from the call to its return
//	Seen:    the same, from the call to the moment when the snapshot of a bus on another connection shows it
func BenchmarkChange(b *testing.B) {
	url := serve(b)
	b.Run("Publish", func(b *testing.B) {
		nc, err := nats.Connect(url)
		require.NoError(b, err)
		defer nc.Close()
		js, err := jetstream.New(nc)
		require.NoError(b, err)
		_, err = js.CreateKeyValue(b.Context(), jetstream.KeyValueConfig{Bucket: "floor"})
		require.NoError(b, err)
		body := make([]byte, 120)
		took := make([]time.Duration, 0, b.N)
		for b.Loop() {
			from := time.Now()
			if _, err := js.Publish(b.Context(), "$KV.floor.default.node", body); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(from))
		}
		quantiles(b, took)
	})
	b.Run("Call", func(b *testing.B) {
		writer, _ := pair(b, url)
		took := make([]time.Duration, 0, b.N)
		for i := 0; b.Loop(); i++ {
			from := time.Now()
			toggle(b, writer, i)
			took = append(took, time.Since(from))
		}
		quantiles(b, took)
	})
	b.Run("Seen", func(b *testing.B) {
		writer, reader := pair(b, url)
		seen := make(chan time.Time)
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		go func() {
			for ev := range reader.Watch(ctx) {
				if ev.Role == "role" {
					seen <- time.Now()
				}
			}
		}()
		took := make([]time.Duration, 0, b.N)
		var calls sync.WaitGroup
		for i := 0; b.Loop(); i++ {
			from := time.Now()
			calls.Go(func() { toggle(b, writer, i) })
			took = append(took, (<-seen).Sub(from))
			calls.Wait()
		}
		quantiles(b, took)
	})
}

func pair(b *testing.B, url string) (writer, reader *rolebus.Bus) {
	b.Helper()
	writer, err := rolebus.Connect(b.Context(), url, rolebus.WithNode("writer"))
	require.NoError(b, err)
	reader, err = rolebus.Connect(b.Context(), url, rolebus.WithNode("reader"))
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, writer.Close())
		require.NoError(b, reader.Close())
	})
	return writer, reader
}

func toggle(b *testing.B, bus *rolebus.Bus, i int) {
	change := bus.AddRoles
	if i%2 == 1 {
		change = bus.RemoveRoles
	}
	if err := change(b.Context(), "role"); err != nil {
		b.Error(err)
	}
}

// BenchmarkRead measures reads in a scope of 1,000 nodes, each with three of 100 roles.
func BenchmarkRead(b *testing.B) {
	url := serve(b)
	nc, err := nats.Connect(url)
	require.NoError(b, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	require.NoError(b, rolebus.Provision(b.Context(), nc))
	reader, err := rolebus.New(b.Context(), nc, rolebus.WithNode("reader"), rolebus.WithObserver())
	require.NoError(b, err)
	defer func() { require.NoError(b, reader.Close()) }()
	// Records as a client in any language writes them: the sync finds them.
	for i := range 1000 {
		name := fmt.Sprintf("node-%04d", i)
		_, err := js.PublishAsync("$KV.rolebus.default."+name, fmt.Appendf(nil,
			`{"format":1,"scope":"default","node":%q,"incarnation":1,"version":1,"ttl":15000,"roles":[%q,%q,%q]}`,
			name, role(i), role(i+1), role(i+2)))
		require.NoError(b, err)
	}
	<-js.PublishAsyncComplete()
	soon, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for i := range 100 {
		require.NoError(b, reader.WaitFor(soon, role(i), 30))
	}
	b.Run("Nodes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if reader.Nodes("role-7").Len() != 30 {
				b.Fatal("wrong answer")
			}
		}
	})
	b.Run("Roles", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if reader.Roles("node-0500").Len() != 3 {
				b.Fatal("wrong answer")
			}
		}
	})
	b.Run("AllNodes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if reader.AllNodes().Len() != 1000 {
				b.Fatal("wrong answer")
			}
		}
	})
	b.Run("NodesParallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if reader.Nodes("role-7").Len() != 30 {
					b.Error("wrong answer")
				}
			}
		})
	})
}

// BenchmarkCatchUp measures how a scope of 10,000 records is read.
//
//	Join:    an observer joins the scope, which reads it once
//	KVWatch: a plain KV watch of the same keys, until the initial values are in
func BenchmarkCatchUp(b *testing.B) {
	const count = 10_000
	url := serve(b)
	nc, err := nats.Connect(url)
	require.NoError(b, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	require.NoError(b, rolebus.Provision(b.Context(), nc))
	reader, err := rolebus.New(b.Context(), nc, rolebus.WithNode("reader"), rolebus.WithObserver())
	require.NoError(b, err)
	defer func() { require.NoError(b, reader.Close()) }()
	for i := range count {
		name := fmt.Sprintf("node-%05d", i)
		_, err := js.PublishAsync("$KV.rolebus.large."+name, fmt.Appendf(nil,
			`{"format":1,"scope":"large","node":%q,"incarnation":1,"version":1,"ttl":15000,"roles":["role"]}`, name))
		require.NoError(b, err)
		if i%500 == 499 {
			<-js.PublishAsyncComplete() // so many may be under way that the client refuses more
		}
	}
	<-js.PublishAsyncComplete()
	b.Run("Join", func(b *testing.B) {
		for b.Loop() {
			s, err := reader.Join(b.Context(), "large")
			require.NoError(b, err)
			require.Len(b, s.Nodes("role").Slice(), count)
			require.NoError(b, reader.Leave(b.Context(), "large"))
		}
	})
	b.Run("KVWatch", func(b *testing.B) {
		kv, err := js.KeyValue(b.Context(), "rolebus")
		require.NoError(b, err)
		for b.Loop() {
			w, err := kv.Watch(b.Context(), "large.*")
			require.NoError(b, err)
			got := 0
			for entry := range w.Updates() {
				if entry == nil {
					break
				}
				got++
			}
			require.Equal(b, count, got)
			require.NoError(b, w.Stop())
		}
	})
}

func role(i int) rolebus.Role { return rolebus.Role(fmt.Sprint("role-", i%100)) }

// BenchmarkSize reports how many bytes, headers and body, a server stores for a node with a role, and how many it sends to each
// process that hears of a change. It measures no time.
//
//	record: as the first change wrote it; lease: a heartbeat; announcement: of the role, as it comes
func BenchmarkSize(b *testing.B) {
	url := serve(b)
	nc, err := nats.Connect(url)
	require.NoError(b, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	heard, err := nc.SubscribeSync("rolebus.changes.>")
	require.NoError(b, err)
	bus, err := rolebus.Connect(b.Context(), url, rolebus.WithNode("api-1"))
	require.NoError(b, err)
	defer func() { require.NoError(b, bus.Close()) }()
	joined, err := heard.NextMsg(10 * time.Second)
	require.NoError(b, err)
	require.NoError(b, bus.AddRoles(b.Context(), "worker"))
	changed, err := heard.NextMsg(10 * time.Second)
	require.NoError(b, err)
	stream, err := js.Stream(b.Context(), "KV_rolebus")
	require.NoError(b, err)
	for b.Loop() {
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(joined.Size()), "join-bytes")
	b.ReportMetric(float64(changed.Size()), "announcement-bytes")
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(b.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		require.NoError(b, err)
		stored := float64((&nats.Msg{Header: msg.Header, Data: msg.Data}).Size())
		if msg.Header.Get("Nats-Schedule") != "" {
			b.ReportMetric(stored, "lease-bytes")
		} else {
			b.ReportMetric(stored, "record-bytes")
		}
	}
}
