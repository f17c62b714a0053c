package rolebus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// realKV is the bucket on a real server.
func realKV(t testing.TB) *kv {
	t.Helper()
	nc, err := nats.Connect(realServer(t))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	silent := slog.New(slog.DiscardHandler)
	k := &kv{
		nc: newTrunk(nc, false), js: js, subj: subjects{bucket: "rolebus"}, timeout: 10 * time.Second, patience: 2 * time.Second,
		fleet: newIdentity("rolebus", silent, func() {}), noise: newNoise(silent), log: silent,
	}
	require.NoError(t, k.ensure(t.Context()))
	require.NoError(t, k.ensure(t.Context()), "again")
	return k
}

// full is all that nats.go's client of JetStream can do, to do what no Bus does.
func (k *kv) full() jetstream.JetStream { return k.js.(jetstream.JetStream) }

func state(node string, incarnation, version uint64, roles ...Role) change {
	return change{kind: kindState, node: node, id: life{incarnation, version}, ttl: minTTL, roles: roleSet(roles)}
}

func (k *kv) next(t *testing.T, f *feed) change {
	t.Helper()
	select {
	case msg := <-f.messages:
		c, err := k.decode(msg)
		require.NoError(t, err)
		require.NotZero(t, c.stored)
		c.stored = time.Time{} // there is none in what was written
		return c
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was announced")
		return change{}
	}
}

func TestKVWritesReadsAndAnnounces(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	f, err := k.subscribe(ctx, "s")
	require.NoError(t, err)
	defer f.stop()
	newest, err := k.newest(ctx, "s", false)
	require.NoError(t, err)
	require.Zero(t, newest)
	p, err := k.pulse(ctx)
	require.NoError(t, err)
	require.Zero(t, p.newest)
	require.Less(t, p.quiet, time.Minute, "since the bucket was made")
	c, generation, err := k.get(ctx, "s", "n")
	require.NoError(t, err)
	require.Zero(t, c.kind)
	require.Zero(t, generation)

	first := state("n", 5, 1, "x", "y")
	first.meta = map[string]string{"zone": "é"}
	first.generation, err = k.put(ctx, "s", first, 0)
	require.NoError(t, err)
	first.first = true
	require.Equal(t, first, k.next(t, f))
	_, err = k.put(ctx, "s", first, 0)
	require.ErrorIs(t, err, errConflict)
	var api *jetstream.APIError
	require.ErrorAs(t, err, &api, "the cause stays matchable")

	delta := change{
		kind: kindDelta, node: "n", id: life{5, 2}, base: 1, ttl: minTTL, roles: []Role{"y", "z"}, meta: first.meta,
		added: []Role{"z"}, removed: []Role{"x"},
	}
	delta.generation, err = k.put(ctx, "s", delta, first.generation)
	require.NoError(t, err)
	heard := k.next(t, f)
	require.Equal(t, kindDelta, heard.kind)
	require.Equal(t, delta.added, heard.added)
	require.Equal(t, delta.removed, heard.removed)

	c, generation, err = k.get(ctx, "s", "n")
	require.NoError(t, err)
	require.Equal(t, delta.generation, generation)
	whole := state("n", 5, 2, "y", "z")
	whole.meta, whole.generation = first.meta, generation
	require.Equal(t, whole, c, "the body is the whole state, also of a delta")
	newest, err = k.newest(ctx, "s", false)
	require.NoError(t, err)
	require.Equal(t, generation, newest)
	_, err = k.put(ctx, "other", state("n", 5, 1), 0)
	require.NoError(t, err)
	newest, err = k.newest(ctx, "s", false)
	require.NoError(t, err)
	require.Equal(t, generation, newest, "of this scope")

	require.NoError(t, k.bury(ctx, "s", change{kind: kindLeft, node: "n", id: life{5, 2}}, generation))
	require.Equal(t, kindLeft, k.next(t, f).kind)
	require.ErrorIs(t, k.bury(ctx, "s", change{kind: kindLeft, node: "n", id: life{5, 2}}, generation), errConflict)
	require.Zero(t, k.noise.count())
}

func TestKVSwitchFiresOnceAndOnlyIfNotRenewed(t *testing.T) {
	t.Parallel()
	k, ctx := realKV(t), t.Context()
	f, err := k.subscribe(ctx, "s")
	require.NoError(t, err)
	defer f.stop()
	server, err := k.now(ctx)
	require.NoError(t, err)
	lease := change{kind: kindExpired, node: "n", id: life{5, 1000}, due: dueAt(server.Add(time.Hour))}
	require.NoError(t, k.arm(ctx, "s", lease, 0), "before the record")
	generation, err := k.put(ctx, "s", state("n", 5, 1, "x"), 0)
	require.NoError(t, err)
	k.next(t, f)
	require.ErrorIs(t, k.arm(ctx, "s", lease, 0), errConflict)
	lease.due = dueAt(server.Add(time.Second))
	require.NoError(t, k.arm(ctx, "s", lease, generation), "replaces the one before")

	c := k.next(t, f)
	require.Equal(t, kindExpired, c.kind)
	require.Equal(t, lease.id, c.id)
	require.True(t, lease.due.Equal(c.due))
	require.GreaterOrEqual(t, c.late, time.Duration(0), "never early")
	stored, at, err := k.get(ctx, "s", "n")
	require.NoError(t, err)
	require.Equal(t, kindExpired, stored.kind)
	require.Equal(t, c.late, stored.late, "read as well as heard")
	require.Equal(t, c.generation, at)
	require.ErrorIs(t, k.arm(ctx, "s", lease, generation), errConflict, "a heartbeat finds out")
	msg, err := k.last(ctx, k.subj.lease("s", "n"))
	require.NoError(t, err)
	require.Nil(t, msg, "a switch that has fired is gone")
}

func TestKVReadsManyPagesInOrder(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	const count = 2*pageSize + 7
	for i := range count {
		_, err := k.full().PublishMsgAsync(recordMessage(k.subj, k.fleet.current(), "s", state(fmt.Sprint("n", i), 1, 1, "x"), 0))
		require.NoError(t, err)
	}
	<-k.full().PublishAsyncComplete()
	_, err := k.full().Publish(ctx, k.subj.record("s", "garbage"), []byte("{"))
	require.NoError(t, err)
	newest, err := k.newest(ctx, "s", false)
	require.NoError(t, err)
	changes, last, err := k.read(ctx, "s", 1, newest)
	require.NoError(t, err)
	require.Equal(t, newest, last)
	require.Len(t, changes, count)
	for i := range changes[1:] {
		require.Less(t, changes[i].generation, changes[i+1].generation)
	}
	require.EqualValues(t, 1, k.noise.count())
	some, _, err := k.read(ctx, "s", changes[count-3].generation, newest)
	require.NoError(t, err)
	require.Len(t, some, 3)
	none, last, err := k.read(ctx, "nobody", 1, 0)
	require.NoError(t, err)
	require.Empty(t, none)
	require.Zero(t, last)
	k.noConsumers(t)
}

func TestKVWithoutABucket(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	require.NoError(t, k.full().DeleteStream(ctx, k.subj.stream()))
	_, err := k.newest(ctx, "s", false)
	require.ErrorIs(t, err, errUnanswered)
	_, _, err = k.get(ctx, "s", "n")
	require.ErrorIs(t, err, errUnanswered)
	_, err = k.put(ctx, "s", state("n", 1, 1), 0)
	require.ErrorIs(t, err, errUnanswered)
	_, _, err = k.read(ctx, "s", 1, 1)
	require.ErrorIs(t, err, errUnanswered)
	_, err = k.now(ctx)
	require.ErrorIs(t, err, errUnanswered)
	require.NoError(t, k.ensure(ctx))
	_, err = k.put(ctx, "s", state("n", 1, 1), 0)
	require.NoError(t, err)
}

func TestKVWithoutAConnection(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	k.nc.conn().Close()
	_, err := k.put(ctx, "s", state("n", 1, 1), 0)
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	require.False(t, passing(err), "for good")
	_, err = k.subscribe(ctx, "s")
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	_, err = k.newest(ctx, "s", false)
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	require.False(t, errors.Is(err, errUnanswered))
}

func TestAnswerToWhatIsStored(t *testing.T) {
	k := &kv{subj: wire}
	for text, want := range map[string]uint64{
		`{"stream":"KV_rolebus","seq":17}`:                   17,
		`{"stream":"KV_rolebus","domain":"hub","seq":17}`:    17,
		`{"stream":"KV_rolebus", "seq":17,"duplicate":true}`: 17,
	} {
		a, err := k.decodeAck(text)
		require.NoError(t, err, text)
		require.Equal(t, want, a.generation)
		require.Equal(t, strings.Contains(text, "hub"), a.domain == "hub")
	}
	_, err := k.decodeAck(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"KV_rolebus","seq":0}`)
	require.True(t, hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence), "%v", err)
	for _, none := range []string{"", "-ERR", "{}", `{"stream":"KV_rolebus","seq":"x"}`, `{"seq":3}`} {
		_, err := k.decodeAck(none)
		require.ErrorIs(t, err, jetstream.ErrInvalidJSAck, none)
	}
}

// A bucket that has just got its leases' subject back took no heartbeats before.
func TestKVThatWasMendedIsLikeOneWithANewLeader(t *testing.T) {
	k := realKV(t)
	p, err := k.pulse(t.Context())
	require.NoError(t, err)
	require.Equal(t, forEver, p.leads)
	stream, err := k.js.Stream(t.Context(), k.subj.stream())
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	cfg.Subjects = []string{k.subj.records()}
	_, err = k.js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
	before := time.Now()
	require.NoError(t, k.ensure(t.Context()))
	p, err = k.pulse(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, p.leads, time.Since(before))
}
