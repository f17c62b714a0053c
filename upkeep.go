package rolebus

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// upkeep is what a process does about the bucket's settings while it runs. It sees them whenever it asks the stream's leader
// something: at least once a minute, when its own record is not what it wrote, and when a request ended as no outage explains.
type upkeep struct {
	later func(func(context.Context)) // runs something for as long as the Bus lives; nil: nothing is mended

	mu      sync.Mutex
	told    string // what was told to be amiss last; "" if all is well
	mending bool
	asked   time.Time // when suspect had it looked at last
}

// suspectEvery is how often the settings are looked at because requests fail, which in an outage all do.
const suspectEvery = 5 * time.Second

// suspect has the settings looked at soon, because a request failed in a way that they may be to blame for, or
// nothing was announced.
func (k *kv) suspect() {
	if k.upkeep.later == nil || k.limit.Load() == 0 || !k.upkeep.ripe(time.Now()) {
		return
	}
	k.upkeep.later(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, k.timeout)
		defer cancel()
		if stream, err := k.js.Stream(ctx, k.subj.stream()); err == nil {
			k.inspect(stream.CachedInfo())
		}
	})
}

func (u *upkeep) ripe(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.asked) < suspectEvery {
		return false
	}
	u.asked = now
	return true
}

// inspect looks at the bucket's settings. What is not as it must be is mended, by a process that may, and else told once: it may
// have been changed by somebody who does not know what it is for.
func (k *kv) inspect(info *jetstream.StreamInfo) {
	k.limit.Store(int64(info.Config.MaxMsgSize))
	diffs, want, err := k.judge(info, false)
	switch {
	case err == nil && len(diffs) == 0:
		k.amiss(nil)
	case err != nil || k.settings.untouched || k.upkeep.later == nil:
		if err == nil {
			err = k.unmended(diffs, want, errUntouched)
		}
		k.amiss(err)
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
				k.amiss(err)
			}
		})
	}
}

// amiss tells that the bucket is not as it must be, unless that was told. Who looks for another reason finds the same.
func (k *kv) amiss(err error) {
	text := ""
	if err != nil {
		text = strings.Map(noDigits, err.Error())
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

// noDigits leaves out the numbers, such as how much is used, which change all the time.
func noDigits(r rune) rune {
	if '0' <= r && r <= '9' {
		return -1
	}
	return r
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
