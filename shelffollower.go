package rolebus

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// Who follows the entries of a kind, and hears what is new of them at his own pace.

// entryFollower is one who follows.
type entryFollower struct {
	hear func(EntryNews)
	ctx  context.Context
	wake chan struct{}

	mu    sync.Mutex
	whole bool
	news  map[string]Entry // that wait, by name
}

func (f *entryFollower) tell(news []Entry, whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if whole || f.news == nil {
		f.news = make(map[string]Entry, len(news))
	}
	f.whole = f.whole || whole
	for _, e := range news {
		f.news[e.Name] = e
	}
	poke(f.wake)
}

func (f *entryFollower) run() {
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.wake:
		}
		f.mu.Lock()
		news := EntryNews{Entries: slices.Collect(maps.Values(f.news)), Whole: f.whole}
		f.news, f.whole = nil, false
		f.mu.Unlock()
		slices.SortFunc(news.Entries, func(a, b Entry) int { return cmp.Compare(a.Generation, b.Generation) })
		if f.ctx.Err() == nil && (news.Whole || len(news.Entries) > 0) {
			f.hear(news)
		}
	}
}
