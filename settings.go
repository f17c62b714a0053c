package rolebus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// What the bucket's settings must be, and what is not so.

// settings are the choices that a user has about the bucket.
type settings struct {
	replicas   int // 0: as many as the cluster allows, 3 or 1
	storage    jetstream.StorageType
	storageSet bool
	maxBytes   int64 // 0: no limit, unless the account demands one
	placement  *jetstream.Placement
	untouched  bool // this process makes and mends nothing
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

// config is the bucket as it is made. docs/PROTOCOL.md says what each setting is for.
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
		Storage:   k.settings.storage,
		Replicas:  k.settings.replicas,
		MaxBytes:  k.settings.maxBytes,
		Placement: k.settings.placement,
	}
}

// nature says what it takes to bring a setting to what it must be.
type nature int

const (
	adds   nature = iota // it takes nothing away from anybody
	alters               // it changes what becomes of messages: only where all of them are ours
	fixed                // no update can do it: the bucket would have to be made anew
)

// settingDiff is a setting of the bucket that is not what it must be.
type settingDiff struct {
	name, have, want string
	nature           nature
	blinds           bool // who only reads sees something wrong by it, too
}

// comparison collects the differences, and the settings with them mended.
type comparison struct {
	diffs []settingDiff
	want  jetstream.StreamConfig
}

func (d *comparison) differ(n nature, blinds bool, name string, have, want any) {
	d.diffs = append(d.diffs, settingDiff{name, fmt.Sprint(have), fmt.Sprint(want), n, blinds})
}

// must is a setting that is on.
func (d *comparison) must(have *bool, blinds bool, name string) {
	if !*have {
		d.differ(adds, blinds, name, false, true)
		*have = true
	}
}

// mustNot is one that is off.
func (d *comparison) mustNot(have *bool, n nature, blinds bool, name string) {
	if *have {
		d.differ(n, blinds, name, true, false)
		*have = false
	}
}

// none is a limit that there must not be.
func none[N int64 | int32](d *comparison, have *N, blinds bool, name string) {
	if *have > 0 {
		d.differ(alters, blinds, name, *have, "none")
		*have = -1
	}
}

// differences lists what is not as it must be, and returns the settings with that mended. What rolebus does not depend
// on stays as the operator chose it. What this process wishes beside that, such as a number of replicas, is left out if it
// only looks: two processes with different wishes would undo each other's for ever.
func (k *kv) differences(info *jetstream.StreamInfo, wishes bool) ([]settingDiff, jetstream.StreamConfig) {
	have, ours := info.Config, k.config()
	d := &comparison{want: have}
	want := &d.want
	for _, subject := range ours.Subjects {
		if !slices.Contains(have.Subjects, subject) {
			want.Subjects = append(slices.Clip(want.Subjects), subject)
		}
	}
	if len(want.Subjects) != len(have.Subjects) {
		d.differ(adds, !slices.Contains(have.Subjects, k.subj.records()), "subjects", have.Subjects, want.Subjects)
	}
	if have.Retention != jetstream.LimitsPolicy {
		n := alters
		if have.Retention == jetstream.WorkQueuePolicy {
			n = fixed
		}
		d.differ(n, true, "retention", have.Retention, jetstream.LimitsPolicy)
		want.Retention = jetstream.LimitsPolicy
	}
	if have.MaxMsgsPerSubject != 1 {
		d.differ(alters, false, "max msgs per subject", have.MaxMsgsPerSubject, 1)
		want.MaxMsgsPerSubject = 1
	}
	none(d, &want.MaxMsgs, true, "max msgs")
	none(d, &want.MaxMsgSize, false, "max msg size")
	k.room(d, info, wishes)
	if have.MaxAge != 0 {
		d.differ(alters, true, "max age", have.MaxAge, "none")
		want.MaxAge = 0
	}
	if have.SubjectDeleteMarkerTTL != 0 {
		d.differ(alters, false, "subject delete marker TTL", have.SubjectDeleteMarkerTTL, "none")
		want.SubjectDeleteMarkerTTL = 0
	}
	if have.Discard != jetstream.DiscardOld {
		n := alters
		if info.State.LastSeq == 0 {
			n = adds // nothing was ever discarded
		}
		d.differ(n, false, "discard", have.Discard, jetstream.DiscardOld)
		want.Discard = jetstream.DiscardOld
	}
	d.mustNot(&want.DiscardNewPerSubject, alters, false, "discard new per subject")
	d.mustNot(&want.Sealed, fixed, true, "sealed")
	d.mustNot(&want.NoAck, alters, false, "no ack")
	d.mustNot(&want.AllowMsgCounter, fixed, true, "allow message counter")
	d.mustNot(&want.DenyPurge, fixed, false, "deny purge") // with which there can be no schedules
	d.must(&want.AllowDirect, true, "allow direct")
	d.must(&want.AllowRollup, false, "allow rollup")
	d.must(&want.AllowMsgTTL, false, "allow message TTL")
	d.must(&want.AllowMsgSchedules, false, "allow message schedules")
	if have.SubjectTransform != nil {
		d.differ(alters, true, "subject transform", have.SubjectTransform.Source+" to "+have.SubjectTransform.Destination, "none")
		want.SubjectTransform = nil
	}
	if have.RePublish == nil || *have.RePublish != *ours.RePublish {
		n := adds
		if have.RePublish != nil {
			n = alters
		}
		d.differ(n, true, "republish", republished(have.RePublish), republished(ours.RePublish))
		want.RePublish = ours.RePublish
	}
	if have.Metadata[metaFormat] == "" || fleetIn(have) == "" {
		fleet := fleetIn(have)
		if fleet == "" {
			fleet = k.fleet.current() // somebody took it away
		}
		if fleet == "" {
			fleet = newFleetID()
		}
		d.differ(adds, k.fleet.current() == "", "marker in the metadata", "none", "there")
		*want = marked(*want, fleet)
	}
	if wishes && !k.settings.untouched {
		k.wishes(d, have)
	}
	return d.diffs, d.want
}

// wishes are what this process was told of the bucket.
func (k *kv) wishes(d *comparison, have jetstream.StreamConfig) {
	if n := k.settings.replicas; n > 0 && have.Replicas != n {
		d.differ(adds, false, "replicas", have.Replicas, n)
		d.want.Replicas = n
	}
	if k.settings.storageSet && have.Storage != k.settings.storage {
		d.differ(fixed, false, "storage", have.Storage, k.settings.storage)
		d.want.Storage = k.settings.storage
	}
}

func republished(r *jetstream.RePublish) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%s to %s, headers only %t", r.Source, r.Destination, r.HeadersOnly)
}

// inWords says what differs, as people read it.
func inWords(diffs []settingDiff) (lines []string) {
	for _, d := range diffs {
		lines = append(lines, fmt.Sprintf("%s is %s, must be %s", d.name, d.have, d.want))
	}
	return lines
}
