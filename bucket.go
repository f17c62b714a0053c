package rolebus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// settings are the choices that a user has about the bucket.
type settings struct {
	replicas   int // 0: as many as the cluster allows, up to 3
	storage    jetstream.StorageType
	storageSet bool
}

// The marker in the stream's metadata, by which it is known as ours: the form of what it holds, and the fleet's identity.
const (
	metaFormat = "rolebus.format"
	metaFleet  = "rolebus.fleet"
)

// fleetIn returns the identity that a bucket bears; "" if it has none.
func fleetIn(cfg jetstream.StreamConfig) string {
	if id := cfg.Metadata[metaFleet]; checkBucket(id) == nil {
		return id
	}
	return ""
}

// marked returns the settings with our marker, and an identity.
func marked(cfg jetstream.StreamConfig, fleet string) jetstream.StreamConfig {
	metadata := maps.Clone(cfg.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata[metaFormat], metadata[metaFleet] = strconv.Itoa(wireFormat), fleet
	cfg.Metadata = metadata
	return cfg
}

// minServer is the first server that can schedule messages.
const minServer = "2.12.0"

func (k *kv) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              k.subj.stream(),
		Description:       "rolebus: who can do what",
		Subjects:          []string{k.subj.records(), k.subj.leases()},
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardOld,
		AllowDirect:       true,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowMsgTTL:       true,
		AllowMsgSchedules: true,
		RePublish: &jetstream.RePublish{
			Source: k.subj.records(), Destination: k.subj.changes(), HeadersOnly: true,
		},
		Storage:  k.settings.storage,
		Replicas: k.settings.replicas,
	}
}

func (k *kv) ensure(ctx context.Context) error {
	if found := k.nc.ConnectedServerVersion(); k.subj.prefix == "" && olderThan(found, minServer) {
		return fmt.Errorf("%w: needed %s or newer, found %s", ErrServerTooOld, minServer, found)
	}
	stream, err := k.ensureStream(ctx)
	if err != nil {
		return fmt.Errorf("bucket %q: %w", k.subj.bucket, err)
	}
	cfg := stream.CachedInfo().Config
	if !k.ensured {
		k.ensured, k.limit = true, int64(cfg.MaxMsgSize)
	}
	k.fleet.learn(fleetIn(cfg))
	return nil
}

func (k *kv) ensureStream(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	stream, err := k.js.Stream(ctx, k.subj.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = k.create(ctx)
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, k.noJetStream(ctx, err)
	case errors.Is(err, ErrServerTooOld), errors.Is(err, nats.ErrPermissionViolation):
		return nil, err
	case err != nil:
		return nil, k.explain("look", k.subj.streamAPI("INFO"), err)
	}
	return k.adjust(ctx, stream)
}

// create makes the stream with the wanted number of replicas, or with as many as the cluster allows.
func (k *kv) create(ctx context.Context) (stream jetstream.Stream, err error) {
	cfg := marked(k.config(), newFleetID())
	attempts := []int{3, 2, 1}
	if cfg.Replicas > 0 {
		attempts = []int{cfg.Replicas}
	}
	// A cluster that is still forming has too few peers for a moment; what is made now stays for good.
	forming := time.Now().Add(k.timeout / 2)
	for _, cfg.Replicas = range attempts {
		for {
			stream, err = k.js.CreateStream(ctx, cfg)
			if !hasCode(err, codeNoPeers) || time.Now().After(forming) || !sleep(ctx, lastRetry/4) {
				break
			}
		}
		if !hasCode(err, codeNoPeers) && !hasCode(err, codeNotReplicas) {
			break
		}
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return k.js.Stream(ctx, k.subj.stream()) // another process made it meanwhile
	}
	if missing := k.missing(k.subj.streamAPI("CREATE"), err); missing != err {
		err = fmt.Errorf("the bucket is missing, and cannot be made from here: %w", missing)
	}
	if refusal := refused(k.nc, k.subj.streamAPI("CREATE")); err != nil && refusal != nil {
		err = fmt.Errorf("the bucket is missing, and making it is refused: %w: %w", refusal, err)
	}
	if err == nil && !stream.CachedInfo().Config.AllowMsgSchedules {
		err = fmt.Errorf("%w: needed %s or newer; the server did not take message schedules", ErrServerTooOld, minServer)
	}
	if err == nil {
		k.hooks.tellBucket(BucketInfo{Bucket: k.subj.bucket, Made: true})
	}
	return stream, err
}

func hasCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

// adjust brings an existing stream to our settings where it differs.
func (k *kv) adjust(ctx context.Context, stream jetstream.Stream) (jetstream.Stream, error) {
	have := stream.CachedInfo().Config
	if format := have.Metadata[metaFormat]; format != "" && format != strconv.Itoa(wireFormat) {
		return nil, fmt.Errorf("%w: it is of format %s, this version is of format %d: take another bucket (WithBucket)",
			ErrBucketMismatch, clip(format), wireFormat)
	}
	diffs, want := k.differences(have)
	if len(diffs) == 0 {
		return stream, nil
	}
	updated, err := k.js.UpdateStream(ctx, want)
	if err == nil {
		if left, _ := k.differences(updated.CachedInfo().Config); len(left) == 0 {
			k.hooks.tellBucket(BucketInfo{Bucket: k.subj.bucket, Mended: inWords(diffs)})
			return updated, nil
		}
		err = errors.New("the server kept some settings")
	}
	return nil, mismatch(k.subj.stream(), diffs, k.explain("mend", k.subj.streamAPI("UPDATE"), k.missing(k.subj.streamAPI("UPDATE"), err)))
}

// settingDiff is a setting of the bucket that is not what it must be.
type settingDiff struct {
	name, have, want string
	flag             string // of "nats stream edit"; empty if that cannot change it
}

// differences lists what is not as it must be, and returns the settings with that mended. What rolebus does not depend
// on stays as the operator chose it.
func (k *kv) differences(have jetstream.StreamConfig) ([]settingDiff, jetstream.StreamConfig) {
	want, ours := have, k.config()
	var diffs []settingDiff
	differ := func(name string, have, want any, flag string) {
		diffs = append(diffs, settingDiff{name, fmt.Sprint(have), fmt.Sprint(want), flag})
	}
	must := func(name string, have *bool, flag string) {
		if !*have {
			differ(name, false, true, flag)
			*have = true
		}
	}
	for _, subject := range ours.Subjects {
		if !slices.Contains(have.Subjects, subject) {
			want.Subjects = append(slices.Clip(want.Subjects), subject)
		}
	}
	if len(want.Subjects) != len(have.Subjects) {
		flags := make([]string, len(want.Subjects))
		for i, subject := range want.Subjects {
			flags[i] = "--subjects '" + subject + "'"
		}
		differ("subjects", have.Subjects, want.Subjects, strings.Join(flags, " "))
	}
	if have.MaxMsgsPerSubject != 1 {
		differ("max msgs per subject", have.MaxMsgsPerSubject, 1, "--max-msgs-per-subject 1")
		want.MaxMsgsPerSubject = 1
	}
	if have.MaxAge != 0 {
		differ("max age", have.MaxAge, "none", "--max-age 0")
		want.MaxAge, want.SubjectDeleteMarkerTTL = 0, 0
	}
	if have.Discard != jetstream.DiscardOld {
		differ("discard", have.Discard, jetstream.DiscardOld, "--discard old")
		want.Discard, want.DiscardNewPerSubject = jetstream.DiscardOld, false
	}
	must("allow direct", &want.AllowDirect, "--allow-direct")
	must("allow rollup", &want.AllowRollup, "--allow-rollup")
	must("allow message TTL", &want.AllowMsgTTL, "--allow-msg-ttl")
	must("allow message schedules", &want.AllowMsgSchedules, "--allow-schedules")
	if have.RePublish == nil || *have.RePublish != *ours.RePublish {
		var found any = "none"
		if have.RePublish != nil {
			found = fmt.Sprintf("%s to %s, headers only %t", have.RePublish.Source, have.RePublish.Destination, have.RePublish.HeadersOnly)
		}
		differ("republish", found, fmt.Sprintf("%s to %s, headers only true", ours.RePublish.Source, ours.RePublish.Destination),
			fmt.Sprintf("--republish-source '%s' --republish-destination '%s' --republish-headers", ours.RePublish.Source, ours.RePublish.Destination))
		want.RePublish = ours.RePublish
	}
	if n := k.settings.replicas; n > 0 && have.Replicas != n {
		differ("replicas", have.Replicas, n, "--replicas "+strconv.Itoa(n))
		want.Replicas = n
	}
	if k.settings.storageSet && have.Storage != ours.Storage {
		differ("storage", have.Storage, ours.Storage, "")
		want.Storage = ours.Storage
	}
	if have.Metadata[metaFormat] == "" || fleetIn(have) == "" {
		fleet := fleetIn(have)
		if fleet == "" {
			fleet = k.fleet.current() // somebody took it away
		}
		if fleet == "" {
			fleet = newFleetID()
		}
		differ("marker in the metadata", "none", "there", fmt.Sprintf("--metadata %s:%d --metadata %s:%s", metaFormat, wireFormat, metaFleet, fleet))
		want = marked(want, fleet)
	}
	if have.Mirror != nil || len(have.Sources) > 0 {
		differ("mirror or sources", "set", "none", "")
	}
	return diffs, want
}

// inWords says what differs, as people read it.
func inWords(diffs []settingDiff) (lines []string) {
	for _, d := range diffs {
		lines = append(lines, fmt.Sprintf("%s is %s, must be %s", d.name, d.have, d.want))
	}
	return lines
}

// mismatch tells each difference and the command that mends them.
func mismatch(stream string, diffs []settingDiff, cause error) error {
	var flags []string
	fixed := false
	for _, d := range diffs {
		flags = append(flags, d.flag)
		fixed = fixed || d.flag == ""
	}
	mend := "nats stream edit " + stream + " -f " + strings.Join(flags, " ")
	if fixed {
		// Nothing is lost by it: every node writes its own record again.
		mend = "nats stream rm " + stream + " -f"
	}
	return fmt.Errorf("%w: %s; to mend it: %s: %w", ErrBucketMismatch, strings.Join(inWords(diffs), "; "), mend, cause)
}

// olderThan compares two versions by their numbers; one that cannot be read is not older.
func olderThan(version, limit string) bool {
	have, want := versionNumbers(version), versionNumbers(limit)
	return have != nil && slices.Compare(have, want) < 0
}

func versionNumbers(version string) []int {
	core, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	var numbers []int
	for part := range strings.SplitSeq(core, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		numbers = append(numbers, n)
	}
	return numbers
}
