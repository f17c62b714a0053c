package nats_test

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// An empty bucket of another purpose in the place of ours is told once, whoever looks, and why.
func TestAnEmptyBucketThatTakesThePlaceIsToldOnce(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	log := &logged{}
	a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	inPlace(t, func() error {
		_, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "rolebus", History: 5})
		return err
	})
	before := streamAsItIs(t, nc, "KV_rolebus")
	var looked atomic.Int64
	_, err := nc.Subscribe("$JS.API.STREAM.INFO.KV_rolebus", func(*nats.Msg) { looked.Add(1) })
	require.NoError(t, err)
	eventually(t, "it to be told", func() bool { return log.count("somebody else's") > 0 })
	eventually(t, "it to be looked at again and again", func() bool { return looked.Load() > 40 })
	require.Equal(t, 1, log.count("settings are not as they must be"), log)
	require.Equal(t, before, streamAsItIs(t, nc, "KV_rolebus"))
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	eventually(t, "a bucket of ours again", func() bool { return len(stored(t, js, "rolebus", "default")["a"]) == 1 })
	require.NoError(t, a.Err())
}

// Another stream may take what the bucket should: it is named by its subjects, and left alone.
func TestAStreamThatTakesTheBucketsSubjects(t *testing.T) {
	t.Parallel()
	for name, subjects := range map[string][]string{
		"all of every bucket": {"$KV.>"}, "the records": {"$KV.rolebus.>"}, "some records": {"$KV.rolebus.default.x"}, "some leases": {"$KV.*.default.x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			nc := srv.Conn()
			js := jetStream(t, nc)
			_, err := js.CreateStream(t.Context(), streamConfig{Name: "audit", Subjects: subjects})
			require.NoError(t, err)
			before := streamAsItIs(t, nc, "audit")
			_, err = rolebus.New(t.Context(), nc)
			require.ErrorContains(t, err, "another stream takes what the bucket should, $KV.rolebus.> or $KV.rolebus=lease.>: change its subjects, or take another bucket (WithBucket)")
			require.ErrorContains(t, rolebus.Provision(t.Context(), nc), "another stream takes what the bucket should")
			require.Equal(t, before, streamAsItIs(t, nc, "audit"))
		})
	}
	t.Run("only the leases are missing", func(t *testing.T) {
		t.Parallel()
		srv := rolebustest.NewServer(t)
		js := jetStream(t, srv.Conn())
		cfg := asMade(t, srv, "rolebus")
		cfg.Subjects = cfg.Subjects[:1]
		makeStream(t, js, cfg)
		_, err := js.CreateStream(t.Context(), streamConfig{Name: "audit", Subjects: []string{"$KV.rolebus=lease.>"}})
		require.NoError(t, err)
		_, err = rolebus.New(t.Context(), srv.Conn())
		require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
		require.ErrorContains(t, err, "another stream takes what the bucket should")
	})
}
