package hello

import (
	"slices"
	"time"
)

const (
	keptFor  = 30 * time.Second // less than a server waits for the next question
	keptMost = 256
)

// take takes the connection that is kept for a destination, if its secret is still one of ours.
func (a *Asker) take(to destination) *link {
	secrets, m := distinct(a.Secrets)
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.kept[to]
	if l == nil || l.mode != m || m == sealed && !slices.Contains(secrets, l.secret) {
		if l != nil {
			a.drop(to, l)
		}
		return nil
	}
	l.timer.Stop() // if it is too late for that, expire finds another one, or none
	delete(a.kept, to)
	return l
}

// keep keeps a connection for the next question, unless there is one already.
func (a *Asker) keep(to destination, l *link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.kept[to] != nil {
		_ = l.conn.Close()
		return
	}
	if len(a.kept) >= keptMost {
		var oldest destination
		for other, o := range a.kept {
			if first := a.kept[oldest]; first == nil || o.since.Before(first.since) {
				oldest = other
			}
		}
		a.drop(oldest, a.kept[oldest])
	}
	if a.kept == nil {
		a.kept = make(map[destination]*link)
	}
	idle := a.idle
	if idle == 0 {
		idle = keptFor
	}
	l.since = time.Now()
	a.kept[to] = l
	l.timer = time.AfterFunc(idle, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.kept[to] == l && time.Since(l.since) >= idle { // and not kept again since
			a.drop(to, l)
		}
	})
}

// drop closes a connection that is kept. The caller has the lock.
func (a *Asker) drop(to destination, l *link) {
	l.timer.Stop()
	_ = l.conn.Close()
	delete(a.kept, to)
}
