package rolebus

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAStrangerIsToldOnceAndRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := newIdentity("fleet", slog.New(slog.NewTextHandler(&log, nil)), func() {})
		f.learn("OURS")
		require.False(t, f.stranger("THEIRS"), "the bucket may have been made anew")
		for range 3 {
			f.estrange("THEIRS")
			require.True(t, f.stranger("THEIRS"))
			time.Sleep(foreignAge)
			require.False(t, f.stranger("THEIRS"), "a look once in a while")
		}
		require.Equal(t, 1, strings.Count(log.String(), "another bucket of the same name"), log.String())
		for _, says := range []string{"fleet=OURS", "other=THEIRS", "WithBucket", "fleet.>"} {
			require.Contains(t, log.String(), says)
		}
		f.estrange("OURS")
		require.False(t, f.stranger("OURS"))
		for i := range 3 * maxForeign {
			f.estrange(fmt.Sprint("ID-", i))
		}
		require.LessOrEqual(t, len(f.foreign), maxForeign)
	})
}

func TestTheIdentityMovesWhenTheBucketIsAnotherOne(t *testing.T) {
	moved := 0
	f := newIdentity("fleet", slog.New(slog.DiscardHandler), func() { moved++ })
	for i, step := range []struct {
		learn, current string
		moved          int
	}{
		{"", "", 0}, {"A", "A", 0}, {"A", "A", 0}, {"", "A", 0}, {"B", "B", 1}, {"B", "B", 1}, {"A", "A", 2},
	} {
		f.learn(step.learn)
		require.Equal(t, step.current, f.current(), i)
		require.Equal(t, step.moved, moved, i)
	}
	f.estrange("B")
	f.learn("B") // this process has moved to where that bucket is
	require.False(t, f.stranger("B"))
}

func TestIdentitiesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := newFleetID()
		require.NoError(t, checkBucket(id))
		require.False(t, seen[id])
		seen[id] = true
	}
}

// Of a bucket that others made at the same time there is one identity, and whoever loses its marker puts it back.
func TestTheMarkerIsMadeOnceAndPutBack(t *testing.T) {
	k, ctx := realKV(t), t.Context()
	made := k.fleet.current()
	require.NotEmpty(t, made)
	other := &kv{
		nc: k.nc, js: k.js, subj: k.subj, timeout: k.timeout, patience: k.patience, noise: k.noise, log: k.log,
		fleet: newIdentity("rolebus", slog.New(slog.DiscardHandler), func() {}),
	}
	require.NoError(t, other.ensure(ctx))
	require.Equal(t, made, other.fleet.current())

	stream, err := k.js.Stream(ctx, k.subj.stream())
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	cfg.Metadata = map[string]string{"mine": "x"}
	_, err = k.js.UpdateStream(ctx, cfg)
	require.NoError(t, err)
	_, err = k.now(ctx)
	require.NoError(t, err)
	require.Equal(t, made, k.fleet.current(), "who took the marker away made no other bucket")
	require.NoError(t, k.ensure(ctx))
	stream, err = k.js.Stream(ctx, k.subj.stream())
	require.NoError(t, err)
	require.Equal(t, made, stream.CachedInfo().Config.Metadata[metaFleet])
	require.Equal(t, "x", stream.CachedInfo().Config.Metadata["mine"])

	cfg = stream.CachedInfo().Config
	cfg.Metadata[metaFormat] = "2"
	_, err = k.js.UpdateStream(ctx, cfg)
	require.NoError(t, err)
	err = k.ensure(ctx)
	require.ErrorIs(t, err, ErrBucketMismatch)
	require.ErrorContains(t, err, "format 2")
	require.ErrorContains(t, err, "WithBucket")

	require.NoError(t, k.full().DeleteStream(ctx, k.subj.stream()))
	require.NoError(t, k.ensure(ctx))
	require.NotEqual(t, made, k.fleet.current(), "another bucket")
}
