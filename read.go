package rolebus

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Reading the records of a scope: few by pages, many by a consumer, and what a replica lacks from the leader.

func (k *kv) read(ctx context.Context, scope string, from, to uint64) (changes []change, last uint64, err error) {
	subject, overdue, waited := k.subj.scopeRecords(scope), time.Now().Add(k.timeout), false
	take := func(m message) {
		if c, ok := k.decodeStored(m); ok {
			changes = append(changes, c)
		}
	}
	if many := min(to-from, k.stored.Load()/2); many > bulk {
		changes = slices.Grow(changes, int(min(many, largePage)))
		if last, err = k.consume(ctx, subject, from, take); err != nil {
			return nil, 0, err
		}
	}
	for size, wait := bulk, firstRetry/2; last < to; {
		came := 0
		p, err := k.nextPage(ctx, subject, max(from, last+1), size, func(m message) { came++; take(m) })
		if err != nil {
			return nil, 0, err
		}
		if came == size && size == bulk && p.last < to { // there are more than was told
			size = pageSize
			k.stored.Store(max(k.stored.Load(), 4*bulk))
			more, err := k.consume(ctx, subject, p.last+1, take)
			if err != nil {
				return nil, 0, err
			}
			p.last = max(p.last, more)
		}
		if p.last == 0 && waited {
			if m := k.nextAtLeader(ctx, subject, max(from, last+1)); m != nil {
				take(*m)
				p.last = m.generation
			}
		}
		if p.last > 0 {
			last, wait, overdue = p.last, firstRetry/2, time.Now().Add(k.timeout)
			continue
		}
		// They are on their way to the replica that was asked, or were purged meanwhile.
		if err := context.DeadlineExceeded; time.Now().After(overdue) {
			return nil, 0, fmt.Errorf("read: no record of generation %d came: %w", to, err)
		}
		if !sleep(ctx, wait) {
			return nil, 0, fmt.Errorf("read: no record of generation %d came: %w", to, ended(ctx))
		}
		wait, waited = min(2*wait, lastRetry), true
	}
	return changes, last, nil
}
