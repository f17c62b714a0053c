package rolebus

import (
	"testing"

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
	_, err := k.info(ctx)
	require.NoError(t, err)
	for _, from := range []uint64{1, 7} {
		began := k.noise.count()
		var byConsumer []string
		last := k.consume(ctx, k.subj.scopeRecords("s"), from, func(m message) {
			if c, ok := k.decodeStored(m); ok {
				byConsumer = append(byConsumer, c.node)
			}
		})
		require.Equal(t, newest, last)
		require.Len(t, byConsumer, count-int(from)+1)
		require.EqualValues(t, 2, k.noise.count()-began, "what its writer says in the server's name, and headers that end early")
		changes, last, err := k.read(ctx, "s", from, newest)
		require.NoError(t, err)
		require.Equal(t, newest, last)
		require.Equal(t, byConsumer, nodesOf(changes))
	}
	stream, err := k.js.Stream(ctx, k.subj.stream())
	require.NoError(t, err)
	require.Zero(t, stream.CachedInfo().State.Consumers)
}

// Without a consumer all is read by direct gets: here nobody answers who could make one.
func TestRecordsAreReadWithoutAConsumer(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	const count = 2 * bulk
	newest := k.fill(t, "s", count)
	k.noConsumer.Store(true)
	_, err := k.info(ctx)
	require.NoError(t, err)
	require.Zero(t, k.consume(ctx, k.subj.scopeRecords("s"), 1, func(message) { t.Error("read by a consumer") }))
	changes, last, err := k.read(ctx, "s", 1, newest)
	require.NoError(t, err)
	require.Equal(t, newest, last)
	require.Len(t, changes, count)
}
