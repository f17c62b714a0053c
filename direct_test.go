package rolebus

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// fill writes the records n0, n1, ... of a scope, and returns the generation of the last.
func (k *kv) fill(t testing.TB, scope string, count int, roles ...Role) uint64 {
	t.Helper()
	for i := range count {
		_, err := k.full().PublishMsgAsync(recordMessage(k.subj, k.fleet.current(), scope, state(fmt.Sprint("n", i), 1, 1, roles...), 0))
		require.NoError(t, err)
		if i%500 == 499 {
			<-k.full().PublishAsyncComplete()
		}
	}
	<-k.full().PublishAsyncComplete()
	newest, err := k.newest(t.Context(), scope, false)
	require.NoError(t, err)
	return newest
}

func nodesOf(changes []change) []string {
	nodes := []string{}
	for _, c := range changes {
		nodes = append(nodes, c.node)
	}
	return nodes
}

func TestReadTakesTombstonesAndLeavesOutGarbage(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	k.fill(t, "s", 3)
	_, err := k.full().Publish(ctx, k.subj.record("s", "garbage"), []byte("{"))
	require.NoError(t, err)
	_, err = k.put(ctx, "other", state("n", 1, 1), 0)
	require.NoError(t, err)
	require.NoError(t, k.bury(ctx, "s", change{kind: kindLeft, node: "n1", id: life{1, 1}}, 2))
	changes, last, err := k.read(ctx, "s", 1, 6)
	require.NoError(t, err)
	require.Equal(t, []string{"n0", "n2", "n1"}, nodesOf(changes))
	require.Equal(t, kindLeft, changes[2].kind)
	require.EqualValues(t, 6, last)
	require.EqualValues(t, 1, k.noise.count())
	changes, last, err = k.read(ctx, "s", 2, 4)
	require.NoError(t, err)
	require.Equal(t, []string{"n2", "n1"}, nodesOf(changes), "beyond what was asked for, as it is there")
	require.EqualValues(t, 6, last)
}

func TestReadOfLargeRecords(t *testing.T) {
	k := realKV(t)
	const count = 20
	filler := Role(strings.Repeat("r", maxRole))
	var roles []Role
	for i := range 200 {
		roles = append(roles, Role(fmt.Sprint(i))+filler[:maxRole-3])
	}
	newest := k.fill(t, "s", count, roles...)
	came := 0
	_, err := k.nextPage(t.Context(), k.subj.scopeRecords("s"), 1, pageSize, func(message) { came++ })
	require.NoError(t, err)
	require.Less(t, came, count, "a page is bounded in bytes")
	changes, _, err := k.read(t.Context(), "s", 1, newest)
	require.NoError(t, err)
	require.Len(t, changes, count)
}

func TestReadWhileOthersWrite(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	const count = 3*pageSize + 1
	newest := k.fill(t, "s", count)
	moving := fmt.Sprint("n", count/2)
	_, generation, err := k.get(ctx, "s", moving)
	require.NoError(t, err)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for version := uint64(2); ; version++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if generation, err = k.put(ctx, "s", state(moving, 1, version), generation); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 3 {
		changes, last, err := k.read(ctx, "s", 1, newest)
		require.NoError(t, err)
		require.GreaterOrEqual(t, last, newest)
		seen := map[string]bool{}
		for i, c := range changes {
			seen[c.node] = true
			require.True(t, i == 0 || changes[i-1].generation < c.generation)
		}
		require.GreaterOrEqual(t, len(seen), count-1, "only what was written meanwhile may have moved beyond the end")
	}
	close(stop)
	require.NoError(t, <-stopped)
}

func TestReadOfWhatWasPurgedMeanwhile(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	newest := k.fill(t, "s", 3)
	stream, err := k.js.Stream(ctx, k.subj.stream())
	require.NoError(t, err)
	require.NoError(t, stream.Purge(ctx))
	k.timeout = 200 * time.Millisecond
	_, _, err = k.read(ctx, "s", 1, newest)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no record of generation 3 came")
	_, err = k.put(ctx, "s", state("n0", 1, 2), 0)
	require.NoError(t, err)
	changes, last, err := k.read(ctx, "s", 1, newest)
	require.NoError(t, err)
	require.Equal(t, []string{"n0"}, nodesOf(changes), "a newer one will do")
	require.EqualValues(t, 4, last)
}

// TestPromise9HeadersThatClaimToBeAnotherMessage writes a record of mallory's own whose headers say that it is the victim's,
// or the server's word about something, in each way that a server stores.
func TestPromise9HeadersThatClaimToBeAnotherMessage(t *testing.T) {
	forged := "Nats-Stream: KV_rolebus\r\nNats-Subject: $KV.rolebus.SCOPE.victim\r\nNats-Sequence: 4000000\r\n" +
		"Nats-Time-Stamp: 2030-01-01T00:00:00Z\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\nKV-Operation: DEL\r\n"
	k, ctx, n := realKV(t), t.Context(), 0
	for name, hdr := range map[string]string{
		"the same names":           "NATS/1.0\r\n" + forged + "\r\n",
		"an end before the end":    "NATS/1.0\r\n" + forged + "\r\n\r\n",
		"no spaces, early end":     "NATS/1.0\r\n" + strings.ReplaceAll(forged, ": ", ":") + "\r\n\r\n",
		"many lines, early end":    "NATS/1.0\r\n" + strings.Repeat("a:b\n", 300) + forged + "\r\n\r\n",
		"a line that is none":      "NATS/1.0\r\n" + forged + "none\r\n\r\n",
		"no header block":          "HTTP/1.0\r\n" + forged + "\r\n",
		"not ended":                "NATS/1.0\r\nX: y--",
		"status":                   "NATS/1.0\r\nStatus: 404\r\n\r\n",
		"no responders":            "NATS/1.0\r\nStatus: 503\r\n\r\n",
		"inline status":            "NATS/1.0 404 Message Not Found\r\n\r\n",
		"end of batch":             "NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 4000000\r\n\r\n",
		"end of batch, early end":  "NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 4000000\r\n\r\n\r\n",
		"no responders, early end": "NATS/1.0 503\r\n\r\n\r\n",
	} {
		for _, body := range []string{"", `{"format":1,"scope":"SCOPE","node":"victim","incarnation":1,"version":1,"gone":"expired","due":1735787044506}`} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, len(body)), func(t *testing.T) {
				n++
				scope, ignored := fmt.Sprint("s", n), k.noise.count()
				hdr, body := strings.ReplaceAll(hdr, "SCOPE", scope), strings.ReplaceAll(body, "SCOPE", scope)
				first, err := k.put(ctx, scope, state("victim", 1, 1, "x"), 0)
				require.NoError(t, err)
				feed, err := k.subscribe(ctx, scope)
				require.NoError(t, err)
				defer feed.stop()
				k.publishRaw(t, k.subj.record(scope, "mallory"), hdr, body)
				require.Eventually(t, func() bool {
					newest, err := k.newest(ctx, scope, false)
					return err == nil && newest == first+1
				}, 30*time.Second, time.Millisecond)
				c, generation, err := k.get(ctx, scope, "mallory")
				require.NoError(t, err)
				require.Zero(t, c.kind)
				require.Equal(t, first+1, generation)
				_, err = k.put(ctx, scope, state("witness", 1, 1, "x"), 0)
				require.NoError(t, err)
				for _, to := range []uint64{first + 1, first + 2} {
					changes, last, err := k.read(ctx, scope, first, to)
					require.NoError(t, err)
					require.Equal(t, first+2, last)
					require.Equal(t, []string{"victim", "witness"}, nodesOf(changes))
					require.Equal(t, kindState, changes[0].kind)
				}
				require.Greater(t, k.noise.count(), ignored)
				_, err = k.decode(<-feed.messages)
				require.Error(t, err)
				honest, err := k.decode(<-feed.messages)
				require.NoError(t, err)
				require.Equal(t, first+2, honest.generation)
			})
		}
	}
}

// A record of mallory's own that is right but for the generation that it claims. Who believed it would take everything else
// for lost, and read the whole scope for ever.
func TestPromise9AGenerationThatAWriterClaims(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	feed, err := k.subscribe(ctx, "s")
	require.NoError(t, err)
	defer feed.stop()
	forged := recordMessage(k.subj, k.fleet.current(), "s", state("mallory", 1, 1, "x"), 0)
	forged.Header.Set("Nats-Sequence", "4000000")
	_, err = k.full().PublishMsg(ctx, forged)
	require.NoError(t, err)
	msg := <-feed.messages
	require.Contains(t, msg.Header["Nats-Sequence"], "4000000", "the server keeps what the writer said, beside its own")
	_, err = k.decode(msg)
	require.ErrorContains(t, err, "its writer says Nats-Sequence")
	k.requireNoRecord(t, "s", "mallory")
}

// requireNoRecord reads what is stored as a node's record in every way, and finds that it is none.
func (k *kv) requireNoRecord(t *testing.T, scope, node string) {
	t.Helper()
	c, generation, err := k.get(t.Context(), scope, node)
	require.NoError(t, err)
	require.Zero(t, c.kind)
	require.NotZero(t, generation)
	c, sure, err := k.lead(t.Context(), scope, node)
	require.NoError(t, err)
	require.Zero(t, c.kind)
	require.Equal(t, generation, sure)
	changes, _, err := k.read(t.Context(), scope, generation, generation)
	require.NoError(t, err)
	require.NotContains(t, nodesOf(changes), node)
	if m := k.nextAtLeader(t.Context(), k.subj.record(scope, node), 1); m != nil {
		_, _, ok := k.decodeStored(*m)
		require.False(t, ok)
	}
}

// mallory may write a lease and a record of its own, and read; a schedule, or an answer, that the server writes to the
// victim's record comes from mallory all the same.
func TestPromise9WhatTheServerWritesForMallory(t *testing.T) {
	const (
		forgery = "Rolebus: " + `{"format":1,"fleet":"FLEET","incarnation":9000,"version":1,"ttl":1000,"roles":["root"]}` + "\r\n"
		body    = `{"format":1,"scope":"s","node":"victim","incarnation":9000,"version":1,"ttl":1000,"roles":["root"]}`
	)
	forged := func(k *kv) string { return strings.Replace(forgery, "FLEET", k.fleet.current(), 1) }
	for name, write := range map[string]func(k *kv, t *testing.T){
		"a schedule behind an early end": func(k *kv, t *testing.T) {
			hdr := "NATS/1.0\r\n" + forged(k) + "\r\nNats-Schedule: @at 2020-01-01T00:00:00Z\r\nNats-Schedule-Target: " +
				k.subj.record("s", "victim") + "\r\n\r\n"
			k.publishRaw(t, k.subj.lease("s", "mallory"), hdr, body)
		},
		"a schedule with headers of the server": func(k *kv, t *testing.T) {
			hdr := "NATS/1.0\r\n" + forged(k) + "Nats-Stream: KV_rolebus\r\nNats-Subject: " + k.subj.record("s", "victim") + "\r\nNats-Sequence: 77\r\n" +
				"\r\nNats-Schedule: @at 2020-01-01T00:00:00Z\r\nNats-Schedule-Target: " + k.subj.record("s", "victim") + "\r\n\r\n"
			k.publishRaw(t, k.subj.lease("s", "mallory"), hdr, body)
		},
		"an answer to a direct get": func(k *kv, t *testing.T) {
			k.publishRaw(t, k.subj.record("s", "mallory"), "NATS/1.0\r\n"+forged(k)+"\r\n", body)
			require.Eventually(t, func() bool {
				_, generation, err := k.get(t.Context(), "s", "mallory")
				return err == nil && generation > 0
			}, 30*time.Second, time.Millisecond, "it is stored")
			require.NoError(t, k.nc.PublishRequest(k.subj.directGet()+"."+k.subj.record("s", "mallory"), k.subj.record("s", "victim"), nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			k, ctx := realKV(t), t.Context()
			first, err := k.put(ctx, "s", state("victim", 1, 1, "x"), 0)
			require.NoError(t, err)
			feed, err := k.subscribe(ctx, "s")
			require.NoError(t, err)
			defer feed.stop()
			write(k, t)
			require.Eventually(t, func() bool {
				_, generation, err := k.lead(ctx, "s", "victim")
				return err == nil && generation > first
			}, 30*time.Second, time.Millisecond, "the server writes it")
			for announced := false; !announced; {
				msg := <-feed.messages
				c, err := k.decode(msg)
				announced = strings.HasSuffix(msg.Subject, ".victim")
				require.True(t, err != nil || c.node == "mallory" && !announced)
			}
			k.requireNoRecord(t, "s", "victim")
		})
	}
}

// publishRaw publishes headers that no client library would.
func (k *kv) publishRaw(t *testing.T, subject, hdr, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(k.nc.conn().ConnectedUrl(), "nats://"))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n",
		subject, len(hdr), len(hdr)+len(body), hdr, body)
	require.NoError(t, err)
	for from := bufio.NewReader(conn); ; {
		line, err := from.ReadString('\n')
		require.NoError(t, err)
		require.False(t, strings.HasPrefix(line, "-ERR"), line)
		if strings.HasPrefix(line, "PONG") {
			return
		}
	}
}

// replica answers direct gets in the place of a server. What it has are the generations 1 to 5 of one subject each.
func (k *kv) replica(t *testing.T, answer func(request int, from uint64, send func(generation, before uint64), end func(status string))) {
	t.Helper()
	require.NoError(t, k.full().DeleteStream(t.Context(), k.subj.stream()))
	request := 0
	sub, err := k.nc.conn().Subscribe(k.subj.directGet(), func(msg *nats.Msg) {
		var from uint64
		if _, err := fmt.Sscanf(string(msg.Data), `{"seq":%d,`, &from); err != nil {
			t.Error(err)
		}
		request++
		send := func(generation, before uint64) {
			node := fmt.Sprint("n", generation)
			stored := encode(k.fleet.current(), "s", state(node, 1, 1))
			stored.Subject = msg.Reply
			stored.Header.Set("Nats-Subject", k.subj.record("s", node))
			stored.Header.Set("Nats-Stream", k.subj.stream())
			stored.Header.Set("Nats-Sequence", fmt.Sprint(generation))
			stored.Header.Set("Nats-Last-Sequence", fmt.Sprint(before))
			stored.Header.Set("Nats-Time-Stamp", "2030-01-01T00:00:00Z")
			_ = k.nc.conn().PublishMsg(stored)
		}
		answer(request, from, send, func(status string) {
			_ = k.nc.conn().PublishMsg(&nats.Msg{Subject: msg.Reply, Header: nats.Header{"Status": {status}, "Description": {"Because"}}})
		})
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	require.NoError(t, k.nc.conn().Flush())
	k.patience = 500 * time.Millisecond
}

func TestReadAsksAgainForWhatDidNotCome(t *testing.T) {
	t.Parallel()
	k := realKV(t)
	var asked []uint64
	k.replica(t, func(request int, from uint64, send func(generation, before uint64), end func(string)) {
		asked = append(asked, from)
		switch request {
		case 1: // the server dies
		case 2: // the first is lost
			send(2, 1)
			end("204")
		case 3: // the third is lost
			send(1, 0)
			send(2, 1)
			send(4, 3)
			end("204")
		case 4: // the end is lost
			send(3, 0)
		case 5: // a replica that lags
			end("404")
		case 6:
			send(4, 0)
			send(5, 4)
			end("204")
		}
	})
	before := k.nc.conn().NumSubscriptions()
	changes, last, err := k.read(t.Context(), "s", 1, 5)
	require.NoError(t, err)
	require.EqualValues(t, 5, last)
	require.Equal(t, []string{"n1", "n2", "n3", "n4", "n5"}, nodesOf(changes))
	require.Equal(t, []uint64{1, 1, 1, 3, 4, 4}, asked)
	require.Equal(t, before, k.nc.conn().NumSubscriptions())
}

func TestReadEnds(t *testing.T) {
	k := realKV(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	status := "408"
	k.replica(t, func(_ int, _ uint64, send func(generation, before uint64), end func(string)) {
		if status != "" {
			end(status)
			return
		}
		send(1, 0)
		cancel(ErrClosed)
	})
	before := k.nc.conn().NumSubscriptions()
	_, _, err := k.read(ctx, "s", 1, 5)
	require.ErrorContains(t, err, "408 Because")
	status = "503"
	_, _, err = k.read(ctx, "s", 1, 5)
	require.ErrorIs(t, err, errUnanswered)
	status, k.patience = "", time.Hour
	_, _, err = k.read(ctx, "s", 1, 5)
	require.ErrorIs(t, err, ErrClosed, "in the middle of a page")
	require.Equal(t, before, k.nc.conn().NumSubscriptions())
}

func TestTheLeaderSaysTheSame(t *testing.T) {
	k := realKV(t)
	c := stateOf("a", 1, 1, 0, "x")
	generation, err := k.put(t.Context(), "s", c, 0)
	require.NoError(t, err)
	for _, node := range []string{"a", "nobody"} {
		direct, at, err := k.get(t.Context(), "s", node)
		require.NoError(t, err)
		leading, leaderAt, err := k.lead(t.Context(), "s", node)
		require.NoError(t, err)
		require.Equal(t, direct, leading)
		require.Equal(t, at, leaderAt)
		require.Equal(t, node == "a", at == generation)
	}
}

// emptyReplica answers direct gets in the place of one that was damaged and says that all is well: it has nothing. The
// leader has everything.
func emptyReplica(t *testing.T, k *kv) {
	t.Helper()
	stream, err := k.js.Stream(t.Context(), k.subj.stream())
	require.NoError(t, err)
	config := stream.CachedInfo().Config
	config.AllowDirect = false
	_, err = k.js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	for _, subject := range []string{k.subj.directGet(), k.subj.directGet() + ".>"} {
		_, err := k.nc.conn().Subscribe(subject, func(msg *nats.Msg) {
			_ = msg.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}})
		})
		require.NoError(t, err)
	}
	require.NoError(t, k.nc.conn().Flush())
}

func TestReadOfWhatAReplicaNeverGot(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	newest := k.fill(t, "s", 3)
	emptyReplica(t, k)
	unsure, err := k.newest(ctx, "s", false)
	require.NoError(t, err)
	require.Zero(t, unsure)
	sure, err := k.newest(ctx, "s", true)
	require.NoError(t, err)
	require.Equal(t, newest, sure)
	changes, last, err := k.read(ctx, "s", 1, sure)
	require.NoError(t, err)
	require.Equal(t, newest, last)
	require.Equal(t, []string{"n0", "n1", "n2"}, nodesOf(changes))
	none, err := k.newest(ctx, "other", true)
	require.NoError(t, err)
	require.Zero(t, none)
}
