package rolebus

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// identity is which fleet this process belongs to: the random id that its bucket was made with, and that every change bears.
// Another bucket of the same name has another one, such as that of a leaf node whose JetStream has a domain of its own: its
// announcements are heard, because they cross the link, and are none of ours.
type identity struct {
	log    *slog.Logger
	bucket string
	moved  func() // called when the bucket has another id than before, but not for the first

	mu      sync.Mutex
	id      string               // "" before the bucket was seen
	foreign map[string]time.Time // the ids of other buckets, and when that was found out
}

func newIdentity(bucket string, log *slog.Logger, moved func()) *identity {
	return &identity{log: log, bucket: bucket, moved: moved, foreign: map[string]time.Time{}}
}

const (
	foreignAge = time.Minute // so long an id is another bucket's, without a look at ours
	maxForeign = 100         // are remembered
)

// newFleetID makes up an identity.
func newFleetID() string { return rand.Text()[:12] }

// strangerError says that a message bears another fleet's id.
type strangerError struct{ id string }

func (e *strangerError) Error() string {
	return fmt.Sprintf("of another bucket of this name, fleet %q", e.id)
}

func (f *identity) current() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id
}

// learn takes note of the id that the bucket has. One that it lacks is no other one: somebody took it away.
func (f *identity) learn(id string) {
	f.mu.Lock()
	was := f.id
	if id != "" {
		f.id = id
		delete(f.foreign, id)
	}
	f.mu.Unlock()
	if id != "" && was != "" && id != was {
		f.log.Info("the bucket is another one: it was made anew, or is that of another server", "bucket", f.bucket, "fleet", id, "before", was)
		f.moved()
	}
}

// stranger says whether an id that is not ours is known to be another bucket's. If it is not, the bucket must be looked at: it
// may have been made anew.
func (f *identity) stranger(id string) (known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since, known := f.foreign[id]
	return known && time.Since(since) < foreignAge
}

// estrange takes note that an id is another bucket's, and tells so once. It is called right after the bucket was looked at.
func (f *identity) estrange(id string) {
	f.mu.Lock()
	ours := f.id
	_, known := f.foreign[id]
	if id != ours {
		if len(f.foreign) >= maxForeign {
			clear(f.foreign)
		}
		f.foreign[id] = time.Now()
	}
	f.mu.Unlock()
	if id != ours && !known {
		f.log.Warn("another bucket of the same name is heard here, and ignored: over a leaf node's link, or an import of its subjects; "+
			"to hear it no more, give one of the two another name (WithBucket), or deny "+f.bucket+".> on the link",
			"bucket", f.bucket, "fleet", ours, "other", id)
	}
}
