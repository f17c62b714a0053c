// Package reread keeps what was made of files, and makes it anew when they change: the last good one stays whatever happens to the
// files, and what is wrong with them is told once. It has no goroutine of its own: whoever asks for the value looks at the files.
package reread

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	every = time.Second // between two looks
	quiet = time.Second // so long a file has not changed: then whoever writes it has done
)

// MakeFunc makes a value of what is in the files, in their order. old is the value that stands, nil at first. It returns the new value, or
// old, if that is what the files still say, or nil, if they do not make one; and everything that is wrong, one error for each thing.
type MakeFunc[T any] func(now time.Time, texts []string, old *T) (*T, []error)

// Kept is what was made of files. Its methods may be called by several goroutines at once.
type Kept[T any] struct {
	log     *slog.Logger
	files   []File
	make    MakeFunc[T]
	changed func(old, new *T)

	last  atomic.Pointer[T]
	epoch time.Time    // from which next counts, by the monotonic clock
	next  atomic.Int64 // nanoseconds since epoch: when a look is due

	mu           sync.Mutex // held by who looks
	every, quiet time.Duration
	seen         []string // at the last reading
	wrong        []error  // after the last look
	told         []string // that may be so still
}

// New reads the files, as they are now, and returns an error if that makes no value: all that is wrong with them. What is wrong though
// there is a value, now or later, is logged as a warning, each text once until it is mended. changed is called with each value but the
// first. It and make are called by one goroutine at a time; no more must happen in them than in a function that holds a lock.
//
// When files change they count once they have stood for a second, as they may be half written, or one of several. It is told by when they
// were written; where that is in the future, as where clocks differ, by their having been the same at the reading before.
func New[T any](log *slog.Logger, files []File, make MakeFunc[T], changed func(old, new *T)) (*Kept[T], error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := &Kept[T]{log: log, files: files, make: make, changed: changed, epoch: time.Now(), every: every}
	k.look()
	k.quiet = quiet
	if k.last.Load() == nil {
		return nil, errors.Join(k.wrong...)
	}
	return k, nil
}

// Get returns the value, and looks at the files first if the last look was more than a second ago. Who comes while another looks does not
// wait for it, and gets the value of before: a file system that hangs holds up one caller at most.
func (k *Kept[T]) Get() *T {
	if int64(time.Since(k.epoch)) >= k.next.Load() && k.mu.TryLock() {
		k.look()
		k.mu.Unlock()
	}
	return k.last.Load()
}

// Look looks at the files now, or after who does so already, and returns all that is wrong with them, nil if nothing is.
func (k *Kept[T]) Look() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look()
	return errors.Join(k.wrong...)
}

// Pace sets how often files are looked at, and for how long they must have stood. For tests.
func (k *Kept[T]) Pace(every, quiet time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.every, k.quiet = every, quiet
	k.next.Store(0)
}

// look needs mu, but in New.
func (k *Kept[T]) look() {
	defer func() { k.next.Store(int64(time.Since(k.epoch) + k.every)) }()
	now, old, before := time.Now(), k.last.Load(), k.wrong
	r, wrong := read(k.files, now, k.quiet)
	if len(wrong) > 0 { // what else was told may still be so
		k.wrong = wrong
		k.tell()
		return
	}
	again := slices.Equal(k.seen, r.texts)
	k.seen = r.texts
	if r.fresh || r.future && !again {
		return // what was wrong still is, for all that is known
	}
	made, wrong := k.make(now, r.texts, old)
	if made != nil && made != old {
		k.last.Store(made)
		if old != nil {
			k.changed(old, made)
		}
	}
	k.wrong = append(wrong, r.open...)
	k.tell()
	k.told = slices.DeleteFunc(k.told, func(text string) bool { return !slices.ContainsFunc(k.wrong, says(text)) })
	if len(k.wrong) == 0 && len(before) > 0 {
		k.log.Info("nothing is wrong with the files any more", "was", errors.Join(before...).Error())
	}
}

// tell needs mu, but in New. What is wrong at first is returned if it leaves no value.
func (k *Kept[T]) tell() {
	if k.last.Load() == nil {
		return
	}
	for _, err := range k.wrong {
		if text := err.Error(); !slices.Contains(k.told, text) {
			k.told = append(k.told, text)
			k.log.Warn(text)
		}
	}
}

func says(text string) func(error) bool {
	return func(err error) bool { return err.Error() == text }
}
