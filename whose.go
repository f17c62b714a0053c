package rolebus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Whose the stream is that stands where the bucket should. What is not ours is never changed, by anybody.

type whose int

const (
	streamOurs     whose = iota // it bears our marker, or our leases
	streamShared                // ours, but others may have messages in it, or it only looks like ours: what is there must stay
	streamPrepared              // it never held anything, has no marker, and no subject but ours: made for us, most likely
	streamOthers
)

// whose says whose a stream is, and why if it is somebody else's.
func (k *kv) whose(info *jetstream.StreamInfo) (whose, string) {
	cfg := info.Config
	has := func(subject string) bool { return slices.Contains(cfg.Subjects, subject) }
	records, leases := has(k.subj.records()), has(k.subj.leases())
	marked := cfg.Metadata[metaFormat] != "" || fleetIn(cfg) != ""
	strange := k.strange(cfg.Subjects)
	republish := k.config().RePublish
	switch {
	case cfg.Mirror != nil:
		return streamOthers, fmt.Sprintf("it is a mirror of %q", clip(cfg.Mirror.Name))
	case len(cfg.Sources) > 0:
		return streamOthers, fmt.Sprintf("it takes messages from other streams, such as %q", clip(cfg.Sources[0].Name))
	case (leases || marked && records) && len(strange) == 0:
		return streamOurs, ""
	case leases, marked && records:
		return streamShared, ""
	case records && (has(k.subj.oldLeases()) || cfg.RePublish != nil && *cfg.RePublish == *republish):
		return streamShared, "" // as it was made before there was a marker
	case marked:
		return streamOthers, fmt.Sprintf("it bears the marker of rolebus, but has the subjects %v", cfg.Subjects)
	case info.State.LastSeq > 0:
		return streamOthers, "it has no marker of rolebus, and holds messages, or did"
	case !records || len(strange) > 0:
		return streamOthers, fmt.Sprintf("it has no marker of rolebus, and the subjects %v", cfg.Subjects)
	}
	return streamPrepared, ""
}

// strange returns the subjects that are none of the bucket's.
func (k *kv) strange(subjects []string) (strange []string) {
	for _, subject := range subjects {
		if subject != k.subj.records() && subject != k.subj.leases() && subject != k.subj.oldLeases() {
			strange = append(strange, subject)
		}
	}
	return strange
}

// judge says what differs in a stream, and how it would be with that mended. An error says that it is not to be mended,
// by nobody or not by this process, and what else can be done; it matches ErrBucketMismatch.
func (k *kv) judge(info *jetstream.StreamInfo, wishes bool) ([]settingDiff, jetstream.StreamConfig, error) {
	have := info.Config
	if format := have.Metadata[metaFormat]; format != "" && format != strconv.Itoa(wireFormat) {
		return nil, have, fmt.Errorf("%w: it is of format %s, this version is of format %d: take another bucket (WithBucket)",
			ErrBucketMismatch, clip(format), wireFormat)
	}
	who, why := k.whose(info)
	if who == streamOthers {
		return nil, have, notOurs(have.Name, why)
	}
	diffs, want := k.differences(info, wishes)
	words := strings.Join(inWords(diffs), "; ")
	beyond := func(n nature) bool {
		return slices.ContainsFunc(diffs, func(d settingDiff) bool { return d.nature >= n })
	}
	switch {
	case who == streamPrepared && beyond(alters):
		return diffs, have, notOurs(have.Name, "it has no marker of rolebus, and settings of another purpose: "+words)
	case who == streamShared && beyond(alters):
		return diffs, have, fmt.Errorf("%w: %s; it is not mended, because others may have messages in it: its subjects are %v; "+
			"give them a stream of their own, or take another bucket (WithBucket)", ErrBucketMismatch, words, have.Subjects)
	case beyond(fixed):
		return diffs, have, fmt.Errorf("%w: %s; no update of the stream can mend that, only its removal, by which nothing is lost, "+
			"because every node writes its record again: %s", ErrBucketMismatch, words, k.removal())
	}
	return diffs, want, nil
}

func notOurs(stream, why string) error {
	return fmt.Errorf("%w: the stream %s is somebody else's: %s; nothing of it was changed: take another bucket (WithBucket)",
		ErrBucketMismatch, stream, why)
}

// unmended is the error of a stream that should be mended and was not: what differs, and the command that mends it.
func (k *kv) unmended(diffs []settingDiff, want jetstream.StreamConfig, cause error) error {
	return fmt.Errorf("%w: %s; to mend it: %s: %w", ErrBucketMismatch, strings.Join(inWords(diffs), "; "), k.update(want), cause)
}
