package rolebus

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

const republishFlags = "--republish-source '$KV.fleet.>' --republish-destination 'fleet.changes.>' --republish-headers"

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
		want     []string // as told: name, found, needed, flag
		left     bool     // no edit mends it
		known    string   // the identity that the bucket had
	}{
		{name: "as it must be", alter: func(*config) {}},
		{name: "what rolebus does not need stays", alter: func(c *config) {
			c.Description, c.Subjects = "mine", append(c.Subjects, "more")
			c.MaxBytes, c.DenyDelete, c.DenyPurge, c.Compression = 1<<30, false, true, jetstream.S2Compression
			c.Replicas, c.Storage = 3, jetstream.MemoryStorage
		}},
		{
			name: "subjects", alter: func(c *config) { c.Subjects = []string{"more", "$KV.fleet.>"} },
			want: []string{"subjects", "[more $KV.fleet.>]", "[more $KV.fleet.> $KV.fleet=lease.>]", "--subjects 'more' --subjects '$KV.fleet.>' --subjects '$KV.fleet=lease.>'"},
		},
		{
			name: "history", alter: func(c *config) { c.MaxMsgsPerSubject = 5 },
			want: []string{"max msgs per subject", "5", "1", "--max-msgs-per-subject 1"},
		},
		{
			name: "age", alter: func(c *config) { c.MaxAge, c.SubjectDeleteMarkerTTL = time.Hour, time.Minute },
			want: []string{"max age", "1h0m0s", "none", "--max-age 0"},
		},
		{
			name: "discard", alter: func(c *config) { c.Discard, c.DiscardNewPerSubject = jetstream.DiscardNew, true },
			want: []string{"discard", "DiscardNew", "DiscardOld", "--discard old"},
		},
		{
			name: "direct", alter: func(c *config) { c.AllowDirect = false },
			want: []string{"allow direct", "false", "true", "--allow-direct"},
		},
		{
			name: "rollup", alter: func(c *config) { c.AllowRollup = false },
			want: []string{"allow rollup", "false", "true", "--allow-rollup"},
		},
		{
			name: "message TTL", alter: func(c *config) { c.AllowMsgTTL = false },
			want: []string{"allow message TTL", "false", "true", "--allow-msg-ttl"},
		},
		{
			name: "schedules", alter: func(c *config) { c.AllowMsgSchedules = false },
			want: []string{"allow message schedules", "false", "true", "--allow-schedules"},
		},
		{
			name: "no republish", alter: func(c *config) { c.RePublish = nil },
			want: []string{"republish", "none", "$KV.fleet.> to fleet.changes.>, headers only true", republishFlags},
		},
		{
			name: "republish with bodies", alter: func(c *config) { c.RePublish = &jetstream.RePublish{Source: ">", Destination: "x.>"} },
			want: []string{"republish", "> to x.>, headers only false", "$KV.fleet.> to fleet.changes.>, headers only true", republishFlags},
		},
		{
			name: "replicas", settings: settings{replicas: 3}, alter: func(c *config) { c.Replicas = 1 },
			want: []string{"replicas", "1", "3", "--replicas 3"},
		},
		{
			name: "replicas as wanted", settings: settings{replicas: 3}, alter: func(c *config) { c.Replicas = 3 },
		},
		{
			name: "storage", settings: settings{storage: jetstream.MemoryStorage, storageSet: true},
			alter: func(c *config) { c.Storage = jetstream.FileStorage },
			want:  []string{"storage", "File", "Memory", ""},
		},
		{
			name: "the identity", alter: func(c *config) { c.Metadata = map[string]string{"mine": "x", metaFormat: "1"} },
			want:  []string{"marker in the metadata", "none", "there", "--metadata rolebus.format:1 --metadata rolebus.fleet:" + wireFleet},
			known: wireFleet,
		},
		{
			name: "an identity that is none", alter: func(c *config) { c.Metadata = map[string]string{metaFormat: "1", metaFleet: "a b"} },
			want:  []string{"marker in the metadata", "none", "there", "--metadata rolebus.format:1 --metadata rolebus.fleet:" + wireFleet},
			known: wireFleet,
		},
		{
			name: "the marker's format", alter: func(c *config) { delete(c.Metadata, metaFormat) },
			want: []string{"marker in the metadata", "none", "there", "--metadata rolebus.format:1 --metadata rolebus.fleet:" + wireFleet},
		},
		{
			name: "mirror", alter: func(c *config) { c.Mirror = &jetstream.StreamSource{Name: "x"} },
			want: []string{"mirror or sources", "set", "none", ""}, left: true,
		},
		{
			name: "sources", alter: func(c *config) { c.Sources = []*jetstream.StreamSource{{Name: "x"}} },
			want: []string{"mirror or sources", "set", "none", ""}, left: true,
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

			diffs, want := k.differences(have)
			require.Equal(t, before, have, "what was found is not changed")
			var told [][]string
			for _, d := range diffs {
				told = append(told, []string{d.name, d.have, d.want, d.flag})
			}
			if tc.want == nil {
				require.Empty(t, told)
				require.Equal(t, have, want)
				return
			}
			require.Equal(t, [][]string{tc.want}, told)
			left, _ := k.differences(want)
			require.Equal(t, tc.left, len(left) > 0, "what is wanted differs no more: %v", left)
			if !tc.left {
				mended := marked(k.config(), fleetIn(want))
				mended.Subjects = want.Subjects
				if mine := want.Metadata["mine"]; mine != "" {
					mended.Metadata["mine"] = mine // of others
				}
				require.Equal(t, mended, want)
			}
		})
	}
}

func TestBucketOfOthersIsMendedWhole(t *testing.T) {
	k := fleetBucket(settings{})
	diffs, want := k.differences(jetstream.StreamConfig{
		Name: "KV_fleet", Subjects: []string{"$KV.fleet.>"}, MaxMsgsPerSubject: 10, MaxAge: time.Hour, Discard: jetstream.DiscardNew,
	})
	require.Len(t, diffs, 10)
	left, same := k.differences(want)
	require.Empty(t, left)
	require.Equal(t, want, same)
}

func TestMismatchTellsEachDifferenceAndTheCommand(t *testing.T) {
	cause := errors.New("not allowed")
	k := fleetBucket(settings{storage: jetstream.MemoryStorage, storageSet: true})
	have := marked(k.config(), wireFleet)
	have.MaxMsgsPerSubject, have.AllowDirect = 5, false
	diffs, _ := k.differences(have)
	err := mismatch("KV_fleet", diffs, cause)
	require.ErrorIs(t, err, ErrBucketMismatch)
	require.ErrorIs(t, err, cause)
	require.EqualError(t, err, "rolebus: bucket has other settings: max msgs per subject is 5, must be 1; allow direct is false, must be true; "+
		"to mend it: nats stream edit KV_fleet -f --max-msgs-per-subject 1 --allow-direct: not allowed")

	have.Storage = jetstream.FileStorage // which no edit can change
	diffs, _ = k.differences(have)
	err = mismatch("KV_fleet", diffs, cause)
	for _, says := range []string{"max msgs per subject is 5", "allow direct is false", "storage is File, must be Memory", "to mend it: nats stream rm KV_fleet -f:"} {
		require.ErrorContains(t, err, says)
	}
	require.NotContains(t, err.Error(), "stream edit")
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
