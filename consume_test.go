package rolebus

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Very many records are read by a consumer, in the same order and as critically as by direct gets, and no consumer is left.
func TestVeryManyRecordsAreReadByAConsumer(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	const count = 3 * bulk
	newest := k.fill(t, "s", count)
	k.fill(t, "other", 10)
	k.publishRaw(t, k.subj.record("s", "forged"), "NATS/1.0\r\nNats-Sequence: 1\r\n\r\n", `{"format":1,"scope":"s","node":"forged","incarnation":1,"version":1}`)
	k.publishRaw(t, k.subj.record("s", "early"), "NATS/1.0\r\n\r\n\r\n", `{"format":1,"scope":"s","node":"early","incarnation":1,"version":1}`)
	newest += 12
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		info, err := k.info(ctx) // which tells how many there are, too
		require.NoError(c, err)
		require.Equal(c, newest, info.State.LastSeq)
	}, 10*time.Second, time.Millisecond)
	for _, from := range []uint64{1, 7} {
		began := k.noise.count()
		var byConsumer []string
		last, err := k.consume(ctx, k.subj.scopeRecords("s"), from, func(m message) {
			if _, c, ok := k.decodeStored(m); ok {
				byConsumer = append(byConsumer, c.node)
			}
		})
		require.NoError(t, err)
		require.Equal(t, newest, last)
		require.Len(t, byConsumer, count-int(from)+1)
		require.EqualValues(t, 2, k.noise.count()-began, "what its writer says in the server's name, and headers that end early")
		changes, last, err := k.read(ctx, "s", from, newest)
		require.NoError(t, err)
		require.Equal(t, newest, last)
		require.Equal(t, byConsumer, nodesOf(changes))
	}
	k.noConsumers(t)
}

// noConsumers waits until the server has removed what readers left: nothing.
func (k *kv) noConsumers(t *testing.T) {
	stream, err := k.js.Stream(t.Context(), k.subj.stream())
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		info, err := stream.Info(t.Context())
		require.NoError(c, err)
		require.Zero(c, info.State.Consumers)
	}, 10*time.Second, time.Millisecond)
}

// Without a consumer all is read by direct gets: here nobody answers who could make one.
func TestRecordsAreReadWithoutAConsumer(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	const count = 2 * bulk
	newest := k.fill(t, "s", count)
	k.noConsumer.Store(true)
	_, err := k.info(ctx)
	require.NoError(t, err)
	last, err := k.consume(ctx, k.subj.scopeRecords("s"), 1, func(message) { t.Error("read by a consumer") })
	require.NoError(t, err)
	require.Zero(t, last)
	changes, last, err := k.read(ctx, "s", 1, newest)
	require.NoError(t, err)
	require.Equal(t, newest, last)
	require.Len(t, changes, count)
}

// How many records there are is told at the join, and is soon not true any more.
func TestMoreRecordsThanWereToldAreReadByAConsumer(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	const count = 3 * bulk
	newest := k.fill(t, "s", count)
	require.Zero(t, k.stored.Load())
	asked := map[string]int{}
	sub, err := k.nc.conn().Subscribe("$JS.API.>", func(msg *nats.Msg) { asked[strings.Split(msg.Subject, ".")[3]]++ })
	require.NoError(t, err)
	changes, last, err := k.read(ctx, "s", 1, newest)
	require.NoError(t, err)
	require.Equal(t, newest, last)
	require.Len(t, changes, count)
	require.NoError(t, k.nc.conn().Flush())
	require.NoError(t, sub.Drain())
	require.Eventually(t, func() bool { return !sub.IsValid() }, 10*time.Second, time.Millisecond)
	require.Equal(t, map[string]int{"GET": 1, "CREATE": 1, "MSG": 1, "DELETE": 1}, asked)
}

// busyServer is a bucket whose server has heard every question and answers none; it counts them.
func busyServer(t *testing.T) (k *kv, asked func() map[string]int) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(srv.Shutdown)
	require.True(t, srv.ReadyForConnections(10*time.Second))
	nc, err := nats.Connect(srv.ClientURL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	k = &kv{
		nc: newTrunk(nc, false), js: js, subj: subjects{bucket: "rolebus"}, timeout: 300 * time.Millisecond, patience: 50 * time.Millisecond,
		noise: newNoise(slog.New(slog.DiscardHandler)), log: slog.New(slog.DiscardHandler),
	}
	sub, err := nc.SubscribeSync("$JS.API.>")
	require.NoError(t, err)
	return k, func() map[string]int {
		require.NoError(t, nc.Flush())
		counts := map[string]int{}
		for {
			msg, err := sub.NextMsg(time.Millisecond)
			if err != nil {
				return counts
			}
			words := strings.Split(msg.Subject, ".")
			counts[words[2]+"."+words[3]]++
		}
	}
}

// A server that has too much to do gets no more of it: there is no other one that could answer.
func TestABusyServerIsNotAskedTwice(t *testing.T) {
	t.Parallel()
	k, asked := busyServer(t)
	k.stored.Store(10 * bulk)
	_, _, err := k.read(t.Context(), "s", 1, 10*bulk)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 1, asked()["CONSUMER.CREATE"])

	k.single.Store(true)
	_, _, err = k.read(t.Context(), "s", 1, 10*bulk)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, map[string]int{"CONSUMER.CREATE": 1, "CONSUMER.DELETE": 1}, asked(), "it may still be made")

	sub, err := k.nc.conn().Subscribe("$JS.API.CONSUMER.CREATE.>", func(msg *nats.Msg) {
		_ = msg.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.consumer_create_response","stream_name":"KV_rolebus","name":"x","config":{}}`))
	})
	require.NoError(t, err)
	_, _, err = k.read(t.Context(), "s", 1, 10*bulk)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, map[string]int{"CONSUMER.CREATE": 1, "CONSUMER.MSG": 1, "CONSUMER.DELETE": 1}, asked())
	require.NoError(t, sub.Unsubscribe())

	k.stored.Store(0)
	_, _, err = k.read(t.Context(), "s", 1, 10*bulk)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, map[string]int{"DIRECT.GET": 1}, asked())

	k.single.Store(false)
	_, _, err = k.read(t.Context(), "s", 1, 10*bulk)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Greater(t, asked()["DIRECT.GET"], 1, "another replica may answer")
}

// What was asked over a connection that was lost is not waited for.
func TestAReconnectEndsTheWaitForAnAnswer(t *testing.T) {
	k, asked := busyServer(t)
	k.single.Store(true)
	k.timeout = time.Hour
	failed := make(chan error)
	go func() {
		failed <- k.gather(t.Context(), k.subj.directGet(), nil, 1, nil, func(*nats.Msg) (bool, error) { return true, nil })
	}()
	require.Eventually(t, func() bool { return asked()["DIRECT.GET"] > 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, k.nc.conn().ForceReconnect())
	require.ErrorIs(t, <-failed, nats.ErrTimeout)
}

// What is read by hand is what nats.go reads.
func TestDeliveryIsReadAsNATSReadsIt(t *testing.T) {
	const v1, v2 = "$JS.ACK.KV_rolebus.rolebus-X.1.20017.17.1795647384195537123.9983", "$JS.ACK.hub.1pCXYrQ4.KV_rolebus.rolebus-X.1.20017.17.1795647384195537123.9983"
	for _, ack := range []string{v1, v2, v2 + ".aBcD", v1[:len(v1)-len("9983")] + "0"} {
		meta, err := (&nats.Msg{Reply: ack, Sub: &nats.Subscription{}}).Metadata()
		require.NoError(t, err)
		d, ok := parseDelivery(ack, ".rolebus-X.")
		require.True(t, ok, ack)
		require.Equal(t, delivery{
			generation: meta.Sequence.Stream, place: meta.Sequence.Consumer, left: meta.NumPending, stored: meta.Timestamp,
		}, d)
	}
	for _, none := range []string{"", "_INBOX.x", "$JS.ACK.KV_rolebus.other.1.2.3.4.5", "$JS.ACK.KV_rolebus.rolebus-X.1.2.3.4", "x" + v1, v1 + "x", "$JS.ACK.KV_rolebus.rolebus-X.1.-2.3.4.5"} {
		_, ok := parseDelivery(none, ".rolebus-X.")
		require.False(t, ok, none)
	}
}
