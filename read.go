package rolebus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Reading the records of a scope: few by pages, many by a consumer, and what a replica lacks from the leader.

func (k *kv) read(ctx context.Context, scope string, from, to uint64) (changes []change, last uint64, err error) {
	if many := k.many(from, to); many > bulk {
		changes = slices.Grow(changes, int(min(many, largePage)))
	}
	last, err = k.each(ctx, scope, from, to, func(_ string, c change) { changes = append(changes, c) })
	if err != nil {
		return nil, 0, err
	}
	return changes, last, nil
}

func (k *kv) scopes(ctx context.Context) ([]string, error) {
	newest, err := k.newest(ctx, "", true)
	if newest == 0 {
		return nil, err
	}
	found := map[string]bool{}
	_, err = k.each(ctx, "", 1, newest, func(scope string, c change) {
		if c.kind == kindState {
			found[scope] = true
		}
	})
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// many is how many records between two generations there may be.
func (k *kv) many(from, to uint64) uint64 { return min(to-from, k.stored.Load()/2) }

// each hands on the records of a scope, or of all, from one generation to at least another, in their order. It returns the
// generation of the last one.
func (k *kv) each(ctx context.Context, scope string, from, to uint64, each func(scope string, c change)) (last uint64, err error) {
	return k.eachMessage(ctx, k.subj.scopeRecords(scope), from, to, func(m message) {
		if scope, c, ok := k.decodeStored(m); ok {
			each(scope, c)
		}
	})
}

// eachMessage hands on the messages of a subject, as each does records.
func (k *kv) eachMessage(ctx context.Context, subject string, from, to uint64, take func(message)) (last uint64, err error) {
	overdue, waited := time.Now().Add(k.timeout), false
	if k.many(from, to) > bulk {
		if last, err = k.consume(ctx, subject, from, take); err != nil {
			return 0, err
		}
	}
	for size, wait := bulk, firstRetry/2; last < to; {
		came := 0
		p, err := k.nextPage(ctx, subject, max(from, last+1), size, func(m message) { came++; take(m) })
		if err != nil {
			return 0, err
		}
		if came == size && size == bulk && p.last < to { // there are more than was told
			size = pageSize
			k.stored.Store(max(k.stored.Load(), 4*bulk))
			more, err := k.consume(ctx, subject, p.last+1, take)
			if err != nil {
				return 0, err
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
			return 0, fmt.Errorf("read: no record of generation %d came: %w", to, err)
		}
		if !sleep(ctx, wait) {
			return 0, fmt.Errorf("read: no record of generation %d came: %w", to, ended(ctx))
		}
		wait, waited = min(2*wait, lastRetry), true
	}
	return last, nil
}
