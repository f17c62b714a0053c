package rolebus

import (
	"sync"
	"time"
)

// trust tells whether this process may believe the bus. A bus outage is not a node failure: while this process itself
// cannot get through, and for a grace period after it can again, the others may be silent for the same reason.
type trust struct {
	patience time.Duration // without success for longer than this, contact counts as lost
	grace    time.Duration // of this process's own TTL

	mu       sync.Mutex
	good     time.Time // the last success
	failing  bool      // an attempt failed since
	shaken   time.Time // when contact was last regained after a loss; zero if it never was lost
	outage   time.Time // when a late switch last told of an outage
	silent   time.Time // when silence last did
	since    time.Time // and when that began
	troubled time.Time // and the first of those that followed one another
	ahead    time.Time // when the leader became one, by a clock that was set back since; zero if it was not
	awake    time.Time // the last success before this process has slept, if nothing but that speaks against it since; else zero
}

func newTrust(now time.Time, patience, grace time.Duration) *trust {
	return &trust{patience: patience, grace: grace, good: now}
}

// succeed takes note that the bus was reached; it returns true if contact was lost before.
func (t *trust) succeed(now time.Time) (regained bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	regained = t.failing || t.late(now)
	if regained {
		t.shaken = now
	}
	t.good, t.failing, t.awake = now, false, time.Time{}
	return regained
}

// fail takes note that the bus could not be reached; it returns true if that is new.
func (t *trust) fail() (lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lost = !t.failing
	t.failing, t.awake = true, time.Time{}
	return lost
}

// sleep takes note that this process has slept, for so long as its monotonic clock does not know: until the bus is reached again
// contact counts as lost.
func (t *trust) sleep(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failing {
		t.awake = t.good
	}
	t.good, t.failing = t.good.Add(-d.Abs()), true
}

// wasAwake takes note that it has not, after all.
func (t *trust) wasAwake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.awake.IsZero() {
		t.good, t.failing, t.awake = t.awake, false, time.Time{}
	}
}

// shake starts the grace period anew: the server was wrong about this process, so it may be wrong about others.
func (t *trust) shake(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shaken = now
}

// told takes note of what the stream's leader says of itself: also for how long it has stored nothing, though two nodes or more
// heartbeat every third of a TTL. When nothing is stored because nobody is there who could write, or the only one is dead, that
// is no sign.
func (t *trust) told(now time.Time, p pulse, ttl time.Duration) {
	t.led(now, p.leads)
	if ttl > 0 && p.quiet > 5*ttl/12 {
		t.silence(now, now.Add(-p.quiet))
	}
}

// led takes note of how long the stream has had its leader. The time before may have been one without.
func (t *trust) led(now time.Time, leads time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := now.Add(-leads)
	if since.After(now) {
		// It says that it will be one: its clock was set back. It has been one at least since it said so first.
		if since.Sub(t.ahead).Abs() < time.Second {
			return
		}
		t.ahead, since = since, now
	}
	if leads < forEver && since.After(t.shaken) {
		t.shaken = since
	}
}

// suspect takes note of a switch that fired late: there was an outage, and what fell due right after it may be as wrong.
// A node that makes up late switches of its own cannot keep others listed by it: this counts once in a while only.
func (t *trust) suspect(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.outage.IsZero() || now.Sub(t.outage) > outagesApart*t.grace {
		t.shaken, t.outage = now, now
	}
}

const outagesApart = 10 // in graces

// silence takes note that nothing was stored since a time, which is longer than it should be: nobody's heartbeat got
// through. If that happens again and again, all are dead: after three graces it does not count for one.
func (t *trust) silence(now, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	goesOn := since.Sub(t.since).Abs() < time.Second
	switch {
	case t.silent.IsZero() || now.Sub(t.silent) > 2*t.grace:
		t.troubled = now
	case !goesOn && now.Sub(t.troubled) > 3*t.grace:
		return
	}
	t.shaken, t.silent, t.since = now, now, since
}

// calm returns for how long the bus has been as it should be: not at all while contact is lost, and for ever if it never was
// in trouble. A tombstone of kind expired counts if that is the grace of the node that it buries.
func (t *trust) calm(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.failing || t.late(now):
		return 0
	case t.shaken.IsZero():
		return forEver
	}
	return now.Sub(t.shaken)
}

// staleSince returns when contact was lost; zero while it lasts.
func (t *trust) staleSince(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failing || t.late(now) {
		return t.good
	}
	return time.Time{}
}

func (t *trust) late(now time.Time) bool { return now.Sub(t.good) > t.patience }
