package rolebus

import (
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

func fleetBucket(s settings) *kv {
	return &kv{subj: subjects{bucket: "fleet"}, settings: s, fleet: newIdentity("fleet", slog.New(slog.DiscardHandler), func() {})}
}

func TestBucketSettings(t *testing.T) {
	cfg := fleetBucket(settings{}).config()
	require.Equal(t, "KV_fleet", cfg.Name)
	require.Equal(t, []string{"$KV.fleet.>", "$KV.fleet=lease.>"}, cfg.Subjects)
	require.EqualValues(t, 1, cfg.MaxMsgsPerSubject)
	require.Equal(t, jetstream.DiscardOld, cfg.Discard)
	require.True(t, cfg.AllowDirect && cfg.AllowRollup && cfg.AllowMsgTTL && cfg.AllowMsgSchedules)
	require.Equal(t, &jetstream.RePublish{Source: "$KV.fleet.>", Destination: "fleet.changes.>", HeadersOnly: true}, cfg.RePublish)
	require.Equal(t, jetstream.FileStorage, cfg.Storage)
}

func TestBucketDifferences(t *testing.T) {
	type config = jetstream.StreamConfig
	for _, tc := range []struct {
		name     string
		settings settings
		alter    func(*config)
		used     uint64   // bytes
		want     []string // as told: name, found, needed
		nature   nature
		blinds   bool
		known    string // the identity that the bucket had
	}{
		{name: "as it must be", alter: func(*config) {}},
		{name: "what rolebus does not need stays", alter: func(c *config) {
			c.Description, c.Subjects = "mine", append(c.Subjects, "more")
			c.MaxBytes, c.DenyDelete, c.Compression, c.Duplicates = 1<<30, false, jetstream.S2Compression, time.Minute
			c.Replicas, c.Storage, c.MaxConsumers, c.FirstSeq = 3, jetstream.MemoryStorage, 5, 100
			c.PersistMode, c.AllowAtomicPublish, c.AllowBatchPublish, c.MirrorDirect = jetstream.AsyncPersistMode, true, true, true
			c.Placement, c.ConsumerLimits.MaxAckPending = &jetstream.Placement{Cluster: "x"}, 7
		}},
		{
			name: "subjects", alter: func(c *config) { c.Subjects = []string{"more", "$KV.fleet.>"} },
			want: []string{"subjects", "[more $KV.fleet.>]", "[more $KV.fleet.> $KV.fleet=lease.>]"},
		},
		{
			name: "no subject of records", alter: func(c *config) { c.Subjects = []string{"$KV.fleet=lease.>"} },
			want: []string{"subjects", "[$KV.fleet=lease.>]", "[$KV.fleet=lease.> $KV.fleet.>]"}, blinds: true,
		},
		{
			name: "history", alter: func(c *config) { c.MaxMsgsPerSubject = 5 },
			want: []string{"max msgs per subject", "5", "1"}, nature: alters,
		},
		{
			name: "age", alter: func(c *config) { c.MaxAge = time.Hour },
			want: []string{"max age", "1h0m0s", "none"}, nature: alters, blinds: true,
		},
		{
			name: "markers of deletes", alter: func(c *config) { c.SubjectDeleteMarkerTTL = time.Minute },
			want: []string{"subject delete marker TTL", "1m0s", "none"}, nature: alters,
		},
		{
			name: "number", alter: func(c *config) { c.MaxMsgs = 7 },
			want: []string{"max msgs", "7", "none"}, nature: alters, blinds: true,
		},
		{
			name: "size of a message", alter: func(c *config) { c.MaxMsgSize = 100 },
			want: []string{"max msg size", "100", "none"}, nature: alters,
		},
		{
			name: "size", alter: func(c *config) { c.MaxBytes = 4096 },
			want: []string{"max bytes", "4096, of which 0 are used", "at least 1048576"}, nature: alters, blinds: true,
		},
		{
			name: "nearly full", alter: func(c *config) { c.MaxBytes = 1 << 20 }, used: 800_000,
			want: []string{"max bytes", "1048576, of which 800000 are used", "at least 4194304"}, nature: alters, blinds: true,
		},
		{name: "half full", alter: func(c *config) { c.MaxBytes = 1 << 20 }, used: 500_000},
		{
			name: "less than was asked for", settings: settings{maxBytes: 2 << 20}, alter: func(c *config) { c.MaxBytes = 1 << 20 },
			want: []string{"max bytes", "1048576", "2097152"}, nature: alters,
		},
		{name: "more than was asked for", settings: settings{maxBytes: 2 << 20}, alter: func(c *config) { c.MaxBytes = 4 << 20 }},
		{name: "no limit where one was asked for", settings: settings{maxBytes: 2 << 20}, alter: func(c *config) { c.MaxBytes = -1 }},
		{
			name: "discard", alter: func(c *config) { c.Discard = jetstream.DiscardNew },
			want: []string{"discard", "DiscardNew", "DiscardOld"}, nature: alters,
		},
		{
			name: "discard per subject", alter: func(c *config) { c.DiscardNewPerSubject = true },
			want: []string{"discard new per subject", "true", "false"}, nature: alters,
		},
		{
			name: "interest", alter: func(c *config) { c.Retention = jetstream.InterestPolicy },
			want: []string{"retention", "Interest", "Limits"}, nature: alters, blinds: true,
		},
		{
			name: "work queue", alter: func(c *config) { c.Retention = jetstream.WorkQueuePolicy },
			want: []string{"retention", "WorkQueue", "Limits"}, nature: fixed, blinds: true,
		},
		{
			name: "sealed", alter: func(c *config) { c.Sealed = true },
			want: []string{"sealed", "true", "false"}, nature: fixed, blinds: true,
		},
		{
			name: "no acknowledgements", alter: func(c *config) { c.NoAck = true },
			want: []string{"no ack", "true", "false"}, nature: alters,
		},
		{
			name: "counter", alter: func(c *config) { c.AllowMsgCounter = true },
			want: []string{"allow message counter", "true", "false"}, nature: fixed, blinds: true,
		},
		{
			name: "no purge", alter: func(c *config) { c.DenyPurge = true },
			want: []string{"deny purge", "true", "false"}, nature: fixed,
		},
		{
			name: "transform", alter: func(c *config) {
				c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "$KV.fleet.a.>", Destination: "$KV.fleet.b.>"}
			},
			want: []string{"subject transform", "$KV.fleet.a.> to $KV.fleet.b.>", "none"}, nature: alters, blinds: true,
		},
		{
			name: "direct", alter: func(c *config) { c.AllowDirect = false },
			want: []string{"allow direct", "false", "true"}, blinds: true,
		},
		{
			name: "rollup", alter: func(c *config) { c.AllowRollup = false },
			want: []string{"allow rollup", "false", "true"},
		},
		{
			name: "message TTL", alter: func(c *config) { c.AllowMsgTTL = false },
			want: []string{"allow message TTL", "false", "true"},
		},
		{
			name: "schedules", alter: func(c *config) { c.AllowMsgSchedules = false },
			want: []string{"allow message schedules", "false", "true"},
		},
		{
			name: "no republish", alter: func(c *config) { c.RePublish = nil },
			want: []string{"republish", "none", "$KV.fleet.> to fleet.changes.>, headers only true"}, blinds: true,
		},
		{
			name: "republish with bodies", alter: func(c *config) { c.RePublish = &jetstream.RePublish{Source: ">", Destination: "x.>"} },
			want: []string{"republish", "> to x.>, headers only false", "$KV.fleet.> to fleet.changes.>, headers only true"}, nature: alters, blinds: true,
		},
		{
			name: "replicas", settings: settings{replicas: 3}, alter: func(c *config) { c.Replicas = 1 },
			want: []string{"replicas", "1", "3"},
		},
		{
			name: "replicas as wanted", settings: settings{replicas: 3}, alter: func(c *config) { c.Replicas = 3 },
		},
		{
			name: "no wishes", settings: settings{replicas: 3, storage: jetstream.MemoryStorage, storageSet: true, maxBytes: 2 << 20, untouched: true},
			alter: func(c *config) { c.Replicas, c.Storage, c.MaxBytes = 1, jetstream.FileStorage, 1<<20 },
		},
		{
			name: "storage", settings: settings{storage: jetstream.MemoryStorage, storageSet: true},
			alter: func(c *config) { c.Storage = jetstream.FileStorage },
			want:  []string{"storage", "File", "Memory"}, nature: fixed,
		},
		{
			name: "the identity", alter: func(c *config) { c.Metadata = map[string]string{"mine": "x", metaFormat: "1"} },
			want:  []string{"marker in the metadata", "none", "there"},
			known: wireFleet,
		},
		{
			name: "an identity that is none", alter: func(c *config) { c.Metadata = map[string]string{metaFormat: "1", metaFleet: "a b"} },
			want:  []string{"marker in the metadata", "none", "there"},
			known: wireFleet,
		},
		{
			name: "the marker's format", alter: func(c *config) { delete(c.Metadata, metaFormat) },
			want: []string{"marker in the metadata", "none", "there"}, blinds: true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := fleetBucket(tc.settings)
			k.fleet.learn(tc.known)
			have := marked(k.config(), wireFleet)
			have.Subjects = slices.Grow(have.Subjects, 8) // room that nobody may write to
			tc.alter(&have)
			before := have
			before.Subjects = slices.Clone(have.Subjects)

			info := &jetstream.StreamInfo{Config: have, State: jetstream.StreamState{LastSeq: 9, Bytes: tc.used}}
			diffs, want := k.differences(info, true)
			require.Equal(t, before, have, "what was found is not changed")
			if tc.want == nil {
				require.Empty(t, diffs)
				require.Equal(t, have, want)
				return
			}
			require.Equal(t, []settingDiff{{tc.want[0], tc.want[1], tc.want[2], tc.nature, tc.blinds}}, diffs)
			left, _ := k.differences(&jetstream.StreamInfo{Config: want}, true)
			require.Empty(t, left, "what is wanted differs no more")
			mended := marked(k.config(), fleetIn(want))
			mended.Subjects = want.Subjects
			for _, limit := range []*int64{&want.MaxMsgs, &want.MaxBytes} {
				if *limit == -1 {
					*limit = 0 // which the server takes for the same
				}
			}
			if want.MaxMsgSize == -1 {
				want.MaxMsgSize = 0
			}
			if mine := want.Metadata["mine"]; mine != "" {
				mended.Metadata["mine"] = mine // of others
			}
			require.Equal(t, mended, want)
		})
	}
}

// Somebody must say of each setting that there is whether the bucket may have it.
func TestEverySettingIsLookedAt(t *testing.T) {
	const (
		looked  = "it may not differ: see differences" // or whose
		theirs  = "the operator's"
		nothing = "it means nothing to rolebus"
	)
	known := map[string]string{
		"Name": looked, "Subjects": looked, "Retention": looked, "MaxMsgs": looked, "MaxBytes": looked, "Discard": looked,
		"DiscardNewPerSubject": looked, "MaxAge": looked, "MaxMsgsPerSubject": looked, "MaxMsgSize": looked, "NoAck": looked,
		"Mirror": looked, "Sources": looked, "Sealed": looked, "DenyPurge": looked, "AllowRollup": looked, "SubjectTransform": looked,
		"RePublish": looked, "AllowDirect": looked, "Metadata": looked, "AllowMsgTTL": looked, "SubjectDeleteMarkerTTL": looked,
		"AllowMsgCounter": looked, "AllowMsgSchedules": looked,
		"Description": theirs, "Storage": theirs, "Replicas": theirs, "Placement": theirs, "Compression": theirs, "PersistMode": theirs,
		"MaxConsumers":   theirs, // without a consumer all is read by direct gets
		"ConsumerLimits": theirs, // likewise
		"Duplicates":     nothing, "FirstSeq": nothing, "MirrorDirect": nothing, "DenyDelete": nothing, "Template": nothing,
		"AllowAtomicPublish": nothing, "AllowBatchPublish": nothing,
	}
	config := reflect.TypeFor[jetstream.StreamConfig]()
	tags := map[string]bool{}
	for i := range config.NumField() {
		field := config.Field(i)
		require.Contains(t, known, field.Name, "a new setting: does it matter?")
		delete(known, field.Name)
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		tags[tag] = true
	}
	require.Empty(t, known, "there are no such settings any more")
	// An update takes away what the client does not know of.
	servers := reflect.TypeFor[server.StreamConfig]()
	for i := range servers.NumField() {
		tag, _, _ := strings.Cut(servers.Field(i).Tag.Get("json"), ",")
		require.True(t, tags[tag], "nats.go does not know %s: to update a stream would set it back", tag)
	}
}

func TestABucketMadeInAdvanceIsMendedWhole(t *testing.T) {
	k := fleetBucket(settings{})
	info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{ // as "nats kv add" makes it
		Name: "KV_fleet", Subjects: []string{"$KV.fleet.>"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowDirect: true,
		AllowRollup: true, DenyDelete: true, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1,
	}}
	diffs, want, err := k.judge(info, true)
	require.NoError(t, err)
	require.Len(t, diffs, 6)
	left, same := k.differences(&jetstream.StreamInfo{Config: want}, true)
	require.Empty(t, left)
	require.Equal(t, want, same)
}

func TestMismatchTellsEachDifferenceAndTheCommand(t *testing.T) {
	cause := errors.New("not allowed")
	k := fleetBucket(settings{storage: jetstream.MemoryStorage, storageSet: true})
	have := marked(k.config(), wireFleet)
	have.MaxMsgsPerSubject, have.AllowDirect = 5, false
	diffs, want, err := k.judge(&jetstream.StreamInfo{Config: have}, true)
	require.NoError(t, err)
	err = k.unmended(diffs, want, cause)
	require.ErrorIs(t, err, ErrBucketMismatch)
	require.ErrorIs(t, err, cause)
	for _, says := range []string{
		"rolebus: bucket has other settings: max msgs per subject is 5, must be 1; allow direct is false, must be true; to mend it: ",
		"nats req '$JS.API.STREAM.UPDATE.KV_fleet' '{\"name\":\"KV_fleet\",", ": not allowed",
	} {
		require.ErrorContains(t, err, says)
	}

	have.Storage = jetstream.FileStorage // which no update can change
	_, _, err = k.judge(&jetstream.StreamInfo{Config: have}, true)
	require.ErrorIs(t, err, ErrBucketMismatch)
	for _, says := range []string{"max msgs per subject is 5", "allow direct is false", "storage is File, must be Memory", "nats stream rm KV_fleet -f"} {
		require.ErrorContains(t, err, says)
	}
	require.NotContains(t, err.Error(), "UPDATE")
}

func TestCommandsStandAnyText(t *testing.T) {
	k := fleetBucket(settings{})
	cfg := k.config()
	cfg.Description, cfg.Metadata = "it's {{ours}}", map[string]string{"_nats.level": "1", "mine": "{{{"}
	command := k.update(cfg)
	require.NotContains(t, command, "{{")
	require.NotContains(t, command, "_nats.")
	body := strings.ReplaceAll(strings.TrimPrefix(command, "nats req '$JS.API.STREAM.UPDATE.KV_fleet' '"), `'\''`, "'")
	var back jetstream.StreamConfig
	require.NoError(t, json.Unmarshal([]byte(strings.TrimSuffix(body, "'")), &back))
	cfg.Metadata = map[string]string{"mine": "{{{"}
	require.Equal(t, cfg, back)
}

func TestOlderThan(t *testing.T) {
	for _, tc := range []struct {
		version string
		older   bool
	}{
		{"2.11.9", true}, {"2.9.25", true}, {"1.99.99", true}, {"v2.11.0", true}, {"2.11.99-beta.1", true}, {"0.0.0", true},
		{"2.12.0", false}, {"2.12.1", false}, {"2.15.2", false}, {"v2.12.0", false}, {"3.0.0", false}, {"10.0.0", false},
		{"2.12.0-RC.1", false},                        // has what is needed
		{"", false}, {"dev", false}, {"2.x.0", false}, // cannot be read
	} {
		require.Equal(t, tc.older, olderThan(tc.version, minServer), tc.version)
	}
}
