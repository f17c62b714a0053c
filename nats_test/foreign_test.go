package nats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// streamAsItIs returns a stream's settings and what it holds, as the server tells them, byte by byte.
func streamAsItIs(t *testing.T, nc *nats.Conn, stream string) string {
	t.Helper()
	msg, err := nc.Request("$JS.API.STREAM.INFO."+stream, nil, 10*time.Second)
	require.NoError(t, err)
	var info struct {
		Config json.RawMessage `json:"config"`
		State  struct {
			Messages uint64 `json:"messages"`
			Bytes    uint64 `json:"bytes"`
			LastSeq  uint64 `json:"last_seq"`
		} `json:"state"`
	}
	require.NoError(t, json.Unmarshal(msg.Data, &info))
	require.NotEmpty(t, info.Config, string(msg.Data))
	return fmt.Sprintf("%s %+v", info.Config, info.State)
}

type streamConfig = jetstream.StreamConfig

// asMade returns the settings of a bucket that a bus has just made.
func asMade(t *testing.T, srv *rolebustest.Server, bucket string) streamConfig {
	t.Helper()
	require.NoError(t, srv.Bus(rolebus.WithBucket(bucket)).Close())
	js := jetStream(t, srv.Conn())
	stream, err := js.Stream(t.Context(), "KV_"+bucket)
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	require.NoError(t, js.DeleteStream(t.Context(), "KV_"+bucket))
	return cfg
}

// What is somebody else's is not changed, whoever asks.
func TestWhatIsSomebodyElsesIsNotTouched(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	like := asMade(t, srv, "config")
	keyValue := func(cfg jetstream.KeyValueConfig, values int) func(*testing.T) {
		return func(t *testing.T) {
			cfg.Bucket = "config"
			var kv jetstream.KeyValue
			inPlace(t, func() (err error) {
				kv, err = js.CreateKeyValue(t.Context(), cfg)
				return err
			})
			for i := range values {
				_, err := kv.Put(t.Context(), "key", []byte(fmt.Sprint(i)))
				require.NoError(t, err)
			}
		}
	}
	stream := func(alter func(*streamConfig), stored ...string) func(*testing.T) {
		return func(t *testing.T) {
			cfg := streamConfig{Name: "KV_config", Subjects: []string{"$KV.config.>"}, MaxMsgsPerSubject: 1}
			alter(&cfg)
			makeStream(t, js, cfg)
			for _, subject := range stored {
				_, err := js.Publish(t.Context(), subject, []byte("theirs"))
				require.NoError(t, err)
			}
		}
	}
	ours := func(alter func(*streamConfig), stored ...string) func(*testing.T) {
		return stream(func(cfg *streamConfig) { *cfg = like; alter(cfg) }, stored...)
	}
	for name, make := range map[string]func(*testing.T){
		"history 10 and a TTL":             keyValue(jetstream.KeyValueConfig{History: 10, TTL: time.Hour}, 10),
		"history 10 and a TTL, empty":      keyValue(jetstream.KeyValueConfig{History: 10, TTL: time.Hour}, 0),
		"history 10, empty":                keyValue(jetstream.KeyValueConfig{History: 10}, 0),
		"a TTL, empty":                     keyValue(jetstream.KeyValueConfig{TTL: time.Hour}, 0),
		"history 1":                        keyValue(jetstream.KeyValueConfig{}, 3),
		"TTLs of keys, empty":              keyValue(jetstream.KeyValueConfig{LimitMarkerTTL: time.Minute}, 0),
		"values of a size, empty":          keyValue(jetstream.KeyValueConfig{MaxValueSize: 1000}, 0),
		"a very small one, empty":          keyValue(jetstream.KeyValueConfig{MaxBytes: 1000}, 0),
		"a mirror":                         keyValue(jetstream.KeyValueConfig{Mirror: &jetstream.StreamSource{Name: "KV_other"}}, 0),
		"sources":                          keyValue(jetstream.KeyValueConfig{Sources: []*jetstream.StreamSource{{Name: "KV_other"}}}, 0),
		"another republish, empty":         keyValue(jetstream.KeyValueConfig{RePublish: &jetstream.RePublish{Source: ">", Destination: "other.>"}}, 0),
		"our republish with bodies, empty": keyValue(jetstream.KeyValueConfig{RePublish: &jetstream.RePublish{Source: "$KV.config.>", Destination: "config.changes.>"}}, 0),
		"our republish and history":        keyValue(jetstream.KeyValueConfig{History: 5, RePublish: &jetstream.RePublish{Source: "$KV.config.>", Destination: "config.changes.>", HeadersOnly: true}}, 3),
		"a plain stream":                   stream(func(c *streamConfig) { c.Subjects = []string{"orders.>"}; c.MaxMsgsPerSubject = -1 }, "orders.1", "orders.1"),
		"a plain stream, empty":            stream(func(c *streamConfig) { c.Subjects = []string{"orders.>"} }),
		"all that ever was, empty":         stream(func(c *streamConfig) { c.MaxMsgsPerSubject = -1 }),
		"and other subjects, empty":        stream(func(c *streamConfig) { c.Subjects = append(c.Subjects, "orders.>") }),
		"what looks like old leases":       stream(func(c *streamConfig) { c.Subjects = append(c.Subjects, "config.lease.>"); c.MaxMsgsPerSubject = 7 }, "config.lease.x"),
		"a work queue, empty":              stream(func(c *streamConfig) { c.Retention = jetstream.WorkQueuePolicy }),
		"interest, empty":                  stream(func(c *streamConfig) { c.Retention = jetstream.InterestPolicy }),
		"limited in number, empty":         stream(func(c *streamConfig) { c.MaxMsgs = 1000 }),
		"no acknowledgements, empty":       stream(func(c *streamConfig) { c.NoAck = true }),
		"no purge, empty":                  stream(func(c *streamConfig) { c.DenyPurge = true }),
		"counters, empty":                  stream(func(c *streamConfig) { c.AllowMsgCounter, c.AllowDirect = true, true }),
		"a transform, empty": stream(func(c *streamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "$KV.config.a.>", Destination: "$KV.config.b.>"}
		}),
		"of another format": ours(func(c *streamConfig) {
			c.MaxMsgsPerSubject, c.Metadata = 5, map[string]string{"rolebus.format": "2", "rolebus.fleet": "X"}
		}),
		"our marker on other subjects": ours(func(c *streamConfig) { c.Subjects, c.RePublish, c.MaxMsgsPerSubject = []string{"orders.>"}, nil, 5 }, "orders.1", "orders.1"),
		"our marker on a mirror": ours(func(c *streamConfig) {
			*c = streamConfig{Name: c.Name, Metadata: c.Metadata, Mirror: &jetstream.StreamSource{Name: "KV_other"}}
		}),
		"ours with others' messages, longer": ours(func(c *streamConfig) { c.Subjects, c.MaxMsgsPerSubject = append(c.Subjects, "orders.>"), 5 }, "orders.1", "orders.1"),
		"ours with others' messages, older": ours(func(c *streamConfig) {
			c.Subjects, c.MaxAge, c.Duplicates = append(c.Subjects, "orders.>"), time.Hour, 0
		}, "orders.1"),
	} {
		t.Run(name, func(t *testing.T) {
			make(t)
			defer func() { require.NoError(t, js.DeleteStream(context.Background(), "KV_config")) }()
			before := streamAsItIs(t, nc, "KV_config")
			log := &logged{}
			opts := []rolebus.Option{rolebus.WithBucket("config"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil)))}
			refused := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
				require.ErrorContains(t, err, "WithBucket")
				for _, destructive := range []string{"nats stream", "nats kv", "nats req"} {
					require.NotContains(t, err.Error(), destructive)
				}
				require.Equal(t, before, streamAsItIs(t, nc, "KV_config"))
			}
			for _, more := range [][]rolebus.Option{
				nil, {rolebus.WithObserver()}, {rolebus.WithoutProvisioning()}, {rolebus.WithObserver(), rolebus.WithAllScopes()},
				{rolebus.WithReplicas(3), rolebus.WithStorage(jetstream.MemoryStorage), rolebus.WithMaxBytes(1 << 20)},
			} {
				_, err := rolebus.Connect(t.Context(), srv.URL(), append(more, opts...)...)
				refused(err)
				_, err = rolebus.New(t.Context(), nc, append(more, opts...)...)
				refused(err)
			}
			refused(rolebus.Provision(t.Context(), nc, opts...))
			_, err := rolebus.PlanProvision(t.Context(), nc, opts...)
			refused(err)
			require.Zero(t, log.count("mended"))
		})
	}
}

// A bucket that somebody else makes in the place of ours while it runs is not touched either.
func TestWhatTakesTheBucketsPlaceIsNotTouched(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	log, h := &logged{}, &told{}
	a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))), rolebus.WithHooks(h))
	o := bus(srv, "o", rolebus.WithObserver())
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	makeStream(t, js, streamConfig{Name: "KV_rolebus", Subjects: []string{"orders.>"}, MaxMsgsPerSubject: 10})
	for range 5 {
		_, err := js.Publish(t.Context(), "orders.1", []byte("theirs"))
		require.NoError(t, err)
	}
	before := streamAsItIs(t, nc, "KV_rolebus")
	eventually(t, "it to be told", func() bool { return log.count("somebody else's") > 0 })
	eventually(t, "the hook to be told", func() bool {
		for _, info := range h.all() {
			if bucket, ok := info.(rolebus.BucketInfo); ok && bucket.Amiss != nil {
				require.ErrorIs(t, bucket.Amiss, rolebus.ErrBucketMismatch)
				return true
			}
		}
		return false
	})
	require.Equal(t, before, streamAsItIs(t, nc, "KV_rolebus"))
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	eventually(t, "a bucket of ours again", func() bool {
		return len(stored(t, js, "rolebus", "default")["a"]) == 1 && o.Nodes("x").Len() == 1
	})
	require.NoError(t, a.Err())
}

// What was made for a fleet in advance, or by an older form, is taken.
func TestWhatWasMadeForUsIsTaken(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	like := asMade(t, srv, "rolebus")
	marked := like.Metadata["rolebus.fleet"]
	for name, tc := range map[string]struct {
		make   func(*streamConfig)
		stored string
		keeps  func(*testing.T, streamConfig)
	}{
		"as nats kv add does": {make: func(c *streamConfig) {
			*c = streamConfig{
				Name: c.Name, Subjects: []string{"$KV.rolebus.>"}, MaxMsgsPerSubject: 1, AllowRollup: true, AllowDirect: true, DenyDelete: true,
				Discard: jetstream.DiscardNew, MaxBytes: 1 << 20, Storage: jetstream.MemoryStorage, Description: "for the fleet",
			}
		}, keeps: func(t *testing.T, c streamConfig) {
			require.EqualValues(t, 1<<20, c.MaxBytes)
			require.Equal(t, "for the fleet", c.Description)
			require.Equal(t, jetstream.MemoryStorage, c.Storage)
		}},
		"as PROTOCOL says, without a marker": {make: func(c *streamConfig) { c.Metadata = nil }},
		"without its leases":                 {make: func(c *streamConfig) { c.Subjects = []string{"$KV.rolebus.>"} }},
		"before there were markers": {make: func(c *streamConfig) {
			c.Metadata, c.Subjects = nil, []string{"$KV.rolebus.>", "rolebus.lease.>"}
		}, stored: "$KV.rolebus.default.x"},
		"its marker taken away": {make: func(c *streamConfig) { c.Metadata = map[string]string{"mine": "x"} }, stored: "$KV.rolebus.default.x",
			keeps: func(t *testing.T, c streamConfig) { require.Equal(t, "x", c.Metadata["mine"]) }},
		"with others' messages, which stay": {make: func(c *streamConfig) {
			c.Subjects, c.AllowDirect = append(c.Subjects, "orders.>"), false
		}, stored: "orders.1", keeps: func(t *testing.T, c streamConfig) { require.Contains(t, c.Subjects, "orders.>") }},
		"changed by hand": {make: func(c *streamConfig) {
			c.MaxMsgsPerSubject, c.MaxAge, c.MaxMsgs, c.MaxMsgSize, c.MaxBytes, c.NoAck, c.Duplicates = 5, time.Hour, 3, 5000, 2048, true, 0
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "$KV.rolebus.a.>", Destination: "$KV.rolebus.b.>"}
			c.Retention, c.RePublish = jetstream.InterestPolicy, &jetstream.RePublish{Source: "$KV.rolebus.>", Destination: "other.>"}
		}, keeps: func(t *testing.T, c streamConfig) { require.Equal(t, marked, c.Metadata["rolebus.fleet"]) }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := like
			cfg.Metadata = map[string]string{"rolebus.format": "1", "rolebus.fleet": marked}
			tc.make(&cfg)
			makeStream(t, js, cfg)
			defer func() { require.NoError(t, js.DeleteStream(context.Background(), "KV_rolebus")) }()
			if tc.stored != "" {
				_, err := js.Publish(t.Context(), tc.stored, []byte("stays"))
				require.NoError(t, err)
			}
			before := streamAsItIs(t, nc, "KV_rolebus")
			plan, err := rolebus.PlanProvision(t.Context(), nc)
			require.NoError(t, err)
			require.NotEmpty(t, plan.Mend)
			require.Equal(t, before, streamAsItIs(t, nc, "KV_rolebus"), "a plan changes nothing")
			_, err = rolebus.Connect(t.Context(), srv.URL(), rolebus.WithoutProvisioning())
			require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
			require.ErrorContains(t, err, "nats req '$JS.API.STREAM.UPDATE.KV_rolebus'")
			require.Equal(t, before, streamAsItIs(t, nc, "KV_rolebus"), "nor does who may not")

			log, h := &logged{}, &told{}
			a, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithNode("a"), rolebus.WithRoles("x"), rolebus.WithHooks(h),
				rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
			require.NoError(t, err)
			lastTold[rolebus.StartedInfo](t, h)
			require.Equal(t, rolebus.BucketInfo{Bucket: "rolebus", Mended: plan.Mend}, h.all()[1])
			require.Equal(t, 1, log.count(`level=WARN msg="the bucket had other settings, mended"`), log)
			require.NoError(t, a.AddRoles(t.Context(), "y"))
			require.NoError(t, a.Close())
			stream, err := js.Stream(t.Context(), "KV_rolebus")
			require.NoError(t, err)
			now := stream.CachedInfo().Config
			require.EqualValues(t, 1, now.MaxMsgsPerSubject)
			require.True(t, now.AllowMsgSchedules)
			if tc.keeps != nil {
				tc.keeps(t, now)
			}
			if tc.stored != "" {
				kept, err := stream.GetLastMsgForSubject(t.Context(), tc.stored)
				require.NoError(t, err)
				require.Equal(t, "stays", string(kept.Data))
			}
			plan, err = rolebus.PlanProvision(t.Context(), nc)
			require.NoError(t, err)
			require.Equal(t, rolebus.BucketPlan{Bucket: "rolebus"}, plan)
		})
	}
}
