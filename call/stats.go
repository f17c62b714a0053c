package call

import "time"

// EndpointStats is what an [Endpoint] has done since it was made.
type EndpointStats struct {
	Since     time.Time
	Requests  uint64        // that have ended, also those that were refused
	Errors    uint64        // of these: the handler returned an error, or did not run, or its answer was not sent
	Refused   uint64        // of these: the handler did not run
	Running   int           // handlers, now
	Waiting   int           // calls, now
	Time      time.Duration // that the handler took, in all
	LastError string        // the newest of Errors
}

// count takes a call into the books, before its caller hears of it: whoever has an answer finds it counted.
func (e *Endpoint) count(ran bool, took time.Duration, err error) {
	text := lineOf(err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.add(ran, took, text)
}

// returned is count of a call whose handler was called, and is not running any more.
func (e *Endpoint) returned(s *serving, ran bool, took time.Duration, err error) {
	text := lineOf(err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.telling++
	s.told = true
	e.stats.add(ran, took, text)
}

func (stats *EndpointStats) add(ran bool, took time.Duration, err *string) {
	stats.Requests++
	if !ran {
		stats.Refused++
	}
	stats.Time += took
	stats.fail(err)
}

func (stats *EndpointStats) fail(err *string) {
	if err != nil {
		stats.Errors++
		stats.LastError = *err
	}
}

// lineOf is what LastError says of an error; nil if there is none. The error may be the user's, so no lock is held.
func lineOf(err error) *string {
	if err == nil {
		return nil
	}
	text := cut(plain(discreet(err)), maxTextLine)
	return &text
}

// unsent takes into the books that an answer could not be sent.
func (e *Endpoint) unsent(err error) {
	text := lineOf(err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.fail(text)
}
