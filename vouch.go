package rolebus

import (
	"context"
	"time"
)

// A process knows of an outage of the store by its own heartbeats, or questions, which are as far apart as its own TTL allows. A
// node with a shorter one may be buried wrongly in between: because there was no leader for a moment, say. So who has the longer
// TTL asks the leader for how long it has been one, before it believes that tombstone, or doubts it.
//
// So it does before it hides more than half of the others because a server says that nobody listens for them: if that server is cut
// off, and this process with it, there is no leader that answers.

// voucher asks the leader, once for all tombstones and verdicts that wait.
type voucher struct {
	waiting []change  // loop only
	doubted []verdict // loop only
	asking  bool      // loop only
	words   chan word
}

// word is what the leader said, for what waited when it was asked.
type word struct {
	of    []change
	about []verdict
	pulse pulse
	err   error
	at    time.Time // when it was asked
}

// vouch has the leader asked about some tombstones and verdicts more.
func (m *member) vouch(of []change, about []verdict) {
	v := &m.voucher
	v.waiting, v.doubted = append(v.waiting, of...), append(v.doubted, about...)
	if v.asking || len(v.waiting)+len(v.doubted) == 0 {
		return
	}
	tombstones, verdicts := v.waiting, v.doubted
	v.waiting, v.doubted, v.asking = nil, nil, true
	m.wg.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, m.bus.pace.patience())
		defer cancel()
		w := word{of: tombstones, about: verdicts, at: time.Now()}
		w.pulse, w.err = m.bus.store.pulse(ctx)
		select {
		case v.words <- w:
		case <-m.ctx.Done():
		}
	})
}

// vouched takes in what the leader said. No word is a sign, too: contact is lost, as far as anybody can tell, until the next
// heartbeat or question shows that it is not.
func (m *member) vouched(w word) {
	m.voucher.asking = false
	if w.err == nil {
		m.trust.told(w.at, w.pulse, m.rhythm())
	} else {
		m.trust.fail()
		m.reassure()
	}
	m.apply(news{changes: w.of, verdicts: w.about, vouched: true}, false)
	m.vouch(nil, nil)
}
