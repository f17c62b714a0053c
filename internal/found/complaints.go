package found

import (
	"strings"
	"time"
)

// Complaints decide which failures the log gets: each kind when it begins, and then at growing intervals, however often the source works
// in between; of kinds without end a few. The zero value has none.
type Complaints struct {
	of     map[string]*complaint
	spent  int // warnings, of mostAtOnce
	since  time.Time
	warned bool // and it has not been said that all is well
}

// complaint is a kind of failure that the log has.
type complaint struct {
	next time.Time
	wait time.Duration
}

const (
	complainAgain  = 10 * time.Second // at first: then twice as long each time
	complainSeldom = 10 * time.Minute
	mostComplaints = 64 // kinds that are told apart
	mostAtOnce     = 10 // warnings; then one for each regain
	regain         = time.Minute
)

// Now says whether a failure with this text is to be logged.
func (c *Complaints) Now(now time.Time, text string) bool {
	kind := withoutNumbers(text)
	one := c.of[kind]
	switch {
	case one == nil:
		if c.of == nil || len(c.of) >= mostComplaints {
			c.of = map[string]*complaint{}
		}
		one = &complaint{}
		c.of[kind] = one
	case now.Before(one.next):
		return false
	case now.Sub(one.next) > max(one.wait, regain):
		one.wait = 0 // it was well for long: this is another outage
	}
	for ; c.spent > 0 && now.Sub(c.since) >= regain; c.spent-- {
		c.since = c.since.Add(regain)
	}
	if c.spent == 0 {
		c.since = now
	}
	if c.spent >= mostAtOnce {
		return false
	}
	c.spent++
	one.wait = min(max(2*one.wait, complainAgain), complainSeldom)
	one.next = now.Add(one.wait)
	c.warned = true
	return true
}

// Over says whether it is to be logged that nothing is wrong any more.
func (c *Complaints) Over() bool {
	warned := c.warned
	c.warned = false
	return warned
}

// withoutNumbers is a text without what may be another one each time: ports, numbers of requests, times.
func withoutNumbers(text string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, text)
}
