package rolebus

import (
	"log/slog"
	"sync"
	"time"
)

// noise counts the messages that were ignored because they are not what they should be, and logs them once per sender
// and interval.
type noise struct {
	log   *slog.Logger
	hooks *hooks

	mu      sync.Mutex
	ignored uint64
	logged  map[string]time.Time // by subject, which is what tells senders apart
}

const (
	noiseInterval = time.Minute
	noiseSenders  = 1000
)

func newNoise(log *slog.Logger) *noise {
	return &noise{log: log, logged: map[string]time.Time{}}
}

func (n *noise) ignore(subject string, err error) {
	n.mu.Lock()
	n.ignored++
	total, now := n.ignored, time.Now()
	at, known := n.logged[subject]
	quiet := known && now.Sub(at) < noiseInterval
	if !quiet {
		if len(n.logged) >= noiseSenders {
			clear(n.logged)
		}
		n.logged[subject] = now
	}
	n.mu.Unlock()
	if n.hooks != nil && len(n.hooks.ignored) > 0 {
		n.hooks.ignored.TellUpTo(noisiest, IgnoredInfo{Subject: subject, Err: ours("", err), Total: total})
	}
	if !quiet {
		n.log.Warn("ignored a message", "subject", subject, "error", err, "ignored", total)
	}
}

// skip counts a message that is told of elsewhere.
func (n *noise) skip() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ignored++
}

func (n *noise) count() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ignored
}
