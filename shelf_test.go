package rolebus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// fakeEntries is a bucket of entries in memory. Its clock is the bubble's.
type fakeEntries struct {
	fleet func() string

	mu       sync.Mutex
	seq      uint64
	stand    map[string]Entry
	feeds    []chan *nats.Msg
	mute     bool            // announcements are lost
	down     error           // reading fails
	lags     int             // so many of the oldest questions for the newest are answered with less
	lacks    map[string]bool // names that a replica lost; the leader has them
	hold     chan struct{}   // readings wait for it, when they have been answered
	readings int
	looks    int
	subs     int
}

func (*fakeEntries) heartbeat(context.Context, string, string) (uint64, error) { return 0, nil }

func (f *fakeEntries) hearEntries(context.Context, string, string) (*feed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch := make(chan *nats.Msg, feedSize)
	f.feeds = append(f.feeds, ch)
	f.subs++
	return &feed{messages: ch, stop: func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.feeds = slices.DeleteFunc(f.feeds, func(c chan *nats.Msg) bool { return c == ch })
		f.subs--
	}}, nil
}

func (f *fakeEntries) decodeEntry(msg *nats.Msg, scope, kind string) (Entry, bool, error) {
	h := readHeaders(msg.Header)
	e, err := decodeEntryNews(fakeSubjects, f.fleet(), h, msg.Subject, scope, kind)
	return e, h.before == "0", err
}

func (f *fakeEntries) newestEntry(context.Context, string, string, bool) (newest uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return 0, f.down
	}
	for _, e := range f.stand {
		newest = max(newest, e.Generation)
	}
	if f.lags > 0 {
		f.lags--
		return newest - 1, nil
	}
	return newest, nil
}

func (f *fakeEntries) readEntries(ctx context.Context, _, _ string, _ uint64) ([]Entry, error) {
	f.mu.Lock()
	all := slices.SortedFunc(maps.Values(f.stand), func(a, b Entry) int { return cmp.Compare(a.Generation, b.Generation) })
	all = slices.DeleteFunc(all, func(e Entry) bool { return f.lacks[e.Name] })
	hold := f.hold
	f.readings++
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return all, nil
}

func (f *fakeEntries) entryNames(context.Context, string, string) (map[string]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	names := map[string]bool{}
	for name := range f.stand {
		names[name] = true
	}
	return names, f.down
}

func (f *fakeEntries) getEntry(_ context.Context, at place) (Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, is := f.stand[at.name]; is {
		return e, nil
	}
	return Entry{Name: at.name}, f.down
}

func (f *fakeEntries) putEntry(_ context.Context, at place, value string, removed bool, replaces uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return 0, f.down
	}
	if f.stand[at.name].Generation != replaces {
		return 0, errConflict
	}
	return f.store(at.name, value, removed).Generation, nil
}

func (f *fakeEntries) bucketAge(time.Time) time.Duration { return forEver }

// store stores and announces. The caller holds mu.
func (f *fakeEntries) store(name, value string, removed bool) Entry {
	before := f.stand[name].Generation
	f.seq++
	e := Entry{Name: name, Generation: f.seq, Value: value, Removed: removed, Stored: time.Now()}
	f.stand[name] = e
	if !f.mute {
		f.announce(e, before)
	}
	return e
}

// announce tells of an entry. The caller holds mu.
func (f *fakeEntries) announce(e Entry, before uint64) {
	msg := entryMessage(fakeSubjects, f.fleet(), place{"default", "k", e.Name}, e.Value, e.Removed, 0)
	for name, value := range map[string]string{
		"Nats-Stream": "KV_rolebus", "Nats-Subject": msg.Subject, "Nats-Sequence": strconv.FormatUint(e.Generation, 10),
		"Nats-Last-Sequence": strconv.FormatUint(before, 10), "Nats-Time-Stamp": e.Stored.UTC().Format(time.RFC3339Nano),
	} {
		msg.Header[name] = []string{value}
	}
	msg.Subject = "rolebus.changes.default.k." + e.Name
	for _, ch := range f.feeds {
		ch <- msg
	}
}

func (f *fakeEntries) put(name, value string) Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store(name, value, false)
}

// set changes what the bucket is, unheard.
func (f *fakeEntries) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// known is what a follower knows, and how it was told.
type known struct {
	mu     sync.Mutex
	all    map[string]string
	wholes int
	news   int
	errs   []error
}

func (k *known) hear(news EntryNews) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if news.Err != nil {
		k.errs = append(k.errs, news.Err)
	}
	if k.news++; news.Whole {
		k.wholes++
		k.all = map[string]string{}
	}
	for _, e := range news.Entries {
		k.all[e.Name] = fmt.Sprint(e.Generation, " ", e.Value)
	}
}

// failed is why nothing could be heard or read, as it was told.
func (k *known) failed() []error {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.errs)
}

func (k *known) want(t *testing.T, wholes int, all map[string]string) {
	t.Helper()
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	require.Equal(t, all, k.all)
	require.Equal(t, wholes, k.wholes)
}

// inShelf runs a test in a bubble, of a process that follows entries.
func inShelf(t *testing.T, test func(*testing.T, *fakeBus, *fakeEntries, *known)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "a")
		entries := &fakeEntries{fleet: b.fleet.current, stand: map[string]Entry{}, seq: 10}
		b.entries = entries
		entries.put("x", "1")
		k := &known{}
		stop, err := b.Entries("k").Follow(k.hear)
		require.NoError(t, err)
		k.want(t, 1, map[string]string{"x": "11 1"})
		test(t, b, entries, k)
		stop()
		synctest.Wait()
		require.Zero(t, entries.subs)
		require.Empty(t, b.shelves.all)
	})
}

// looked is when everybody has looked for what was missed.
func (b *fakeBus) looked() { time.Sleep(2 * newerEvery * b.opts.sync) }

func TestWhileNothingIsMissedAllIsReadOnce(t *testing.T) {
	inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
		for range 50 {
			f.put("y", "2")
			b.looked()
		}
		k.want(t, 1, map[string]string{"x": "11 1", "y": "61 2"})
		require.Equal(t, 1, f.readings)
		require.Greater(t, f.looks, 50)
	})
}

func TestWhatIsMissedIsFoundByALook(t *testing.T) {
	for name, tc := range map[string]struct {
		harm func(*fakeEntries)
		want map[string]string
	}{
		"a change":             {func(f *fakeEntries) { f.mute = true; f.store("x", "2", false); f.mute = false }, map[string]string{"x": "13 2", "y": "12 1"}},
		"a new one":            {func(f *fakeEntries) { f.mute = true; f.store("z", "2", false); f.mute = false }, map[string]string{"x": "11 1", "y": "12 1", "z": "13 2"}},
		"a purge":              {func(f *fakeEntries) { delete(f.stand, "x") }, map[string]string{"y": "12 1"}},
		"one of the newest":    {func(f *fakeEntries) { delete(f.stand, "y") }, map[string]string{"x": "11 1"}},
		"one of all":           {func(f *fakeEntries) { clear(f.stand) }, map[string]string{}},
		"that it went back":    {func(f *fakeEntries) { f.stand["y"] = Entry{Name: "y", Generation: 5, Value: "0"} }, map[string]string{"x": "11 1", "y": "5 0"}},
		"back, and one is new": {func(f *fakeEntries) { delete(f.stand, "y"); f.stand["z"] = Entry{Name: "z", Generation: 4} }, map[string]string{"x": "11 1", "z": "4 "}},
	} {
		t.Run(name, func(t *testing.T) {
			inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
				f.put("y", "1")
				b.looked()
				f.set(func() { tc.harm(f) })
				b.looked()
				k.want(t, 2, tc.want)
				b.looked()
				k.want(t, 2, tc.want)
			})
		})
	}
}

// A bucket that went back gives generations away that were known: what is announced shows it.
func TestAnAnnouncementShowsThatTheBucketWentBack(t *testing.T) {
	for _, name := range []string{"x", "y", "z"} {
		inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
			f.put("y", "1")
			f.put("y", "2")
			time.Sleep(time.Second)
			want := map[string]string{"x": "11 1", "y": "12 1"}
			f.set(func() {
				f.stand["y"], f.seq = Entry{Name: "y", Generation: 12, Value: "1", Stored: time.Now()}, 12
				if name != "y" {
					f.seq = 10 // and what it had before is below that
				}
			})
			e := f.put(name, "3")
			want[name] = fmt.Sprint(e.Generation, " 3")
			time.Sleep(2 * time.Second)
			k.want(t, 2, want)
		})
	}
}

// What is announced late was read before, or is gone since.
func TestWhatIsAnnouncedLateChangesNothing(t *testing.T) {
	inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
		first := f.put("y", "1")
		f.set(func() { f.mute = true })
		f.put("y", "2")
		z := f.put("z", "1")
		f.put("w", "1")
		f.set(func() { delete(f.stand, "z"); f.mute = false })
		b.shelves.anew()
		time.Sleep(time.Minute)
		want := map[string]string{"x": "11 1", "y": "13 2", "w": "15 1"}
		k.want(t, 2, want)
		f.set(func() { f.announce(first, 0); f.announce(z, 0) })
		k.want(t, 2, want)
		b.looked()
		k.want(t, 2, want)
	})
}

// A reading does not hide what is announced meanwhile, and shows no less than was announced before it.
func TestAReadingGoesWithWhatIsAnnounced(t *testing.T) {
	inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
		hold := make(chan struct{})
		f.set(func() { f.hold = hold })
		b.shelves.anew()
		time.Sleep(time.Minute)
		f.put("x", "2")
		f.put("y", "1")
		k.want(t, 1, map[string]string{"x": "12 2", "y": "13 1"}) // at once
		f.set(func() { f.hold = nil })
		close(hold)
		k.want(t, 2, map[string]string{"x": "12 2", "y": "13 1"})
		f.set(func() { f.lags = 1 }) // a leader that has not everything yet
		b.shelves.anew()
		time.Sleep(time.Minute)
		k.want(t, 3, map[string]string{"x": "12 2", "y": "13 1"})
		f.set(func() { f.lacks = map[string]bool{"x": true} }) // a replica that lost something
		b.shelves.anew()
		time.Sleep(time.Minute)
		k.want(t, 4, map[string]string{"x": "12 2", "y": "13 1"})
	})
}

func TestAReadingThatFailsIsTriedAgain(t *testing.T) {
	inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
		f.set(func() { f.down = errors.New("no answer"); f.mute = true })
		f.set(func() { f.store("x", "2", false) })
		b.shelves.anew()
		time.Sleep(time.Minute)
		k.want(t, 1, map[string]string{"x": "11 1"})
		f.set(func() { f.down, f.mute = nil, false })
		time.Sleep(2 * lastRetry)
		k.want(t, 2, map[string]string{"x": "12 2"})
		require.Equal(t, []error{errors.New("no answer")}, k.failed(), "told once")
		late := &known{}
		stop, err := b.Entries("k").Follow(late.hear)
		require.NoError(t, err)
		late.want(t, 1, map[string]string{"x": "12 2"})
		require.Empty(t, late.failed(), "it is over")
		stop()
	})
}

// Who comes while nothing can be read hears why; what passes by itself is told to nobody.
func TestWhoFollowsHearsWhyNothingCanBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "a")
		refused := errors.New("refused")
		entries := &fakeEntries{fleet: b.fleet.current, stand: map[string]Entry{}, down: context.DeadlineExceeded}
		b.entries = entries
		var all []*known
		for i := range 3 {
			k := &known{}
			all = append(all, k)
			stop, err := b.Entries("k").Follow(k.hear)
			require.NoError(t, err)
			defer stop()
			time.Sleep(time.Minute)
			k.want(t, 0, nil)
			if i == 0 {
				require.Empty(t, k.failed())
				entries.set(func() { entries.down = refused })
				time.Sleep(time.Minute)
			}
			require.Equal(t, []error{refused}, k.failed())
		}
		entries.set(func() { entries.down = nil })
		time.Sleep(time.Minute)
		for _, k := range all {
			k.want(t, 1, map[string]string{})
			require.Len(t, k.failed(), 1)
		}
	})
}

// Another bucket has generations of its own.
func TestEntriesOfAnotherBucketBeginAnew(t *testing.T) {
	inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
		f.set(func() { clear(f.stand); f.seq = 0 })
		b.fleet.learn("ANOTHER")
		f.put("y", "1")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, map[string]string{"y": "1 1"}, k.all)
	})
}

// Who is slow hears the newest of each name, and holds up nobody.
func TestWhoIsSlowHearsTheNewest(t *testing.T) {
	inShelf(t, func(t *testing.T, b *fakeBus, f *fakeEntries, k *known) {
		slow, turn := &known{}, make(chan bool)
		stop, err := b.Entries("k").Follow(func(news EntryNews) { slow.hear(news); <-turn })
		require.NoError(t, err)
		slow.want(t, 1, map[string]string{"x": "11 1"})
		for i := range 100 {
			f.put("y", fmt.Sprint(i))
			synctest.Wait()
		}
		k.want(t, 1, map[string]string{"x": "11 1", "y": "111 99"})
		turn <- true
		slow.want(t, 1, map[string]string{"x": "11 1", "y": "111 99"})
		require.Equal(t, 2, slow.news)
		f.put("y", "100")
		b.shelves.anew() // all of it counts for what waited before
		time.Sleep(time.Minute)
		turn <- true
		slow.want(t, 2, map[string]string{"x": "11 1", "y": "112 100"})
		stop()
		close(turn)
	})
}
