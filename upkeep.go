package rolebus

import (
	"context"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// upkeep is what a process does about the bucket's settings while it runs. It sees them whenever it asks the stream's leader
// something: at least once a minute, and when its own record is not what it wrote.
type upkeep struct {
	later func(func(context.Context)) // runs something for as long as the Bus lives; nil: nothing is mended

	mu      sync.Mutex
	told    string // what was told to be amiss last; "" if all is well
	mending bool
}

// tend looks at the bucket's settings. What is not as it must be is mended, by a process that may, and else told once: it may
// have been changed by somebody who does not know what it is for.
func (k *kv) tend(info *jetstream.StreamInfo) {
	k.limit.Store(int64(info.Config.MaxMsgSize))
	diffs, want, err := k.judge(info, false)
	switch {
	case err == nil && len(diffs) == 0:
		k.amiss(nil, nil)
	case err != nil || k.settings.untouched || k.upkeep.later == nil:
		if err == nil {
			err = k.unmended(diffs, want, errUntouched)
		}
		k.amiss(diffs, err)
	case k.upkeep.begin():
		k.upkeep.later(func(ctx context.Context) {
			defer k.upkeep.end()
			ctx, cancel := context.WithTimeout(ctx, k.timeout)
			defer cancel()
			info, err := k.find(ctx)
			if err == nil {
				_, err = k.adjust(ctx, info, false)
			}
			if ctx.Err() == nil {
				k.amiss(diffs, err)
			}
		})
	}
}

// amiss tells that the bucket is not as it must be, unless that was told.
func (k *kv) amiss(diffs []settingDiff, err error) {
	text := ""
	if err != nil {
		text = err.Error()
		if words := inWords(diffs); len(words) > 0 {
			text = strings.Join(settingNames(diffs), "; ") // the numbers change all the time
		}
	}
	if !k.upkeep.news(text) {
		return
	}
	if err == nil {
		k.log.Info("the bucket's settings are as they must be again", "bucket", k.subj.bucket)
		return
	}
	k.log.Warn("the bucket's settings are not as they must be", "bucket", k.subj.bucket, "error", ours("", err))
	k.hooks.tellBucket(BucketInfo{Bucket: k.subj.bucket, Amiss: ours("", err)})
}

func (u *upkeep) news(text string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.told
	u.told = text
	return was != text
}

// begin says whether nobody is at it.
func (u *upkeep) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	free := !u.mending
	u.mending = true
	return free
}

func (u *upkeep) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mending = false
}
