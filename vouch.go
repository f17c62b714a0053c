package rolebus

import (
	"context"
	"time"
)

// A process knows of an outage of the store by its own heartbeats, or questions, which are as far apart as its own TTL allows. A
// node with a shorter one may be buried wrongly in between: because there was no leader for a moment, say. So who has the longer
// TTL asks the leader for how long it has been one, before it believes that tombstone, or doubts it.

// voucher asks the leader, once for all tombstones that wait.
type voucher struct {
	waiting []change // loop only
	asking  bool     // loop only
	words   chan word
}

// word is what the leader said, for the tombstones that waited when it was asked.
type word struct {
	of    []change
	pulse pulse
	err   error
	at    time.Time // when it was asked
}

// vouch has the leader asked about some tombstones more.
func (m *member) vouch(of []change) {
	v := &m.voucher
	v.waiting = append(v.waiting, of...)
	if v.asking || len(v.waiting) == 0 {
		return
	}
	asked := v.waiting
	v.waiting, v.asking = nil, true
	m.wg.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, requestPatience(m.bus.opts.ttl))
		defer cancel()
		w := word{of: asked, at: time.Now()}
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
	m.apply(news{changes: w.of, vouched: true}, false)
	m.vouch(nil)
}
