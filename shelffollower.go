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
	err   error            // and why there are none
}

func (f *entryFollower) tell(news []Entry, whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if whole || f.news == nil {
		f.news = make(map[string]Entry, len(news))
	}
	if whole {
		f.err = nil
	}
	f.whole = f.whole || whole
	for _, e := range news {
		f.news[e.Name] = e
	}
	poke(f.wake)
}

func (f *entryFollower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
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
		err := f.err
		f.news, f.whole, f.err = nil, false, nil
		f.mu.Unlock()
		slices.SortFunc(news.Entries, func(a, b Entry) int { return cmp.Compare(a.Generation, b.Generation) })
		if f.ctx.Err() == nil && (news.Whole || len(news.Entries) > 0) {
			f.hear(news)
		}
		if f.ctx.Err() == nil && err != nil {
			f.hear(EntryNews{Err: err})
		}
	}
}
