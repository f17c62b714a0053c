package rolebus

import (
	"context"
	"sync"
	"time"
)

// What a whole reading asks beyond the records: whether each has its lease, and before anybody is dropped, what the stream's leader
// has, and whether the node answers after all.

// compareLeases finds out whose record stands without a lease that buries it. Where leases cannot be read a record is as good as
// before: what is not known takes nobody out.
func (k *catcher) compareLeases(ctx context.Context, snap *Snapshot, r *reading, all bool) error {
	for _, d := range snap.doubts.all() {
		all = all || d.lapsed
	}
	for _, e := range snap.ends.all() {
		all = all || e.lapsed
	}
	newest, unsure := uint64(0), error(nil)
	if all {
		newest, unsure = k.store.newestLease(ctx, k.scope)
	}
	l, err := k.store.readLeases(ctx, k.scope, shortest(r.changes), all)
	if err == nil {
		r.lapsed, r.leases, r.lags = l.lapsed(r.changes), l.of, unsure != nil || l.last < newest
	}
	return ctx.Err()
}

// confirm asks the stream's leader about the nodes whose doubt has run out: what one replica lacks takes nobody out. It asks once
// for all of them, who has a record there and who a lease, and then about those of whom that does not fit what was read. A node
// that lives, and whose record the replica lost, has a lease at least: it arms that every third of its TTL.
func (k *catcher) confirm(ctx context.Context, snap *Snapshot, r *reading) error {
	r.due = time.Now()
	due := map[string]doubt{}
	for name, d := range snap.doubts.all() {
		if !r.due.Before(d.until) {
			due[name] = d
		}
	}
	if len(due) == 0 {
		return nil
	}
	leader, err := k.store.standing(ctx, k.scope)
	if err != nil {
		return err
	}
	was := map[string]change{}
	for _, c := range r.changes {
		if _, asked := due[c.node]; asked {
			was[c.node] = c
		}
	}
	for name := range due {
		n, c := snap.live(name), was[name]
		stands := n != nil && c.kind == kindState && !c.id.before(n.id)
		if stands || !leader.records[name] || c.kind != 0 && !leader.leases[name] {
			continue // or it is gone there, too
		}
		c, _, err := k.store.lead(ctx, k.scope, name)
		if err != nil {
			return err
		}
		if c.kind != 0 {
			r.changes = append(r.changes, c)
		}
	}
	return k.confirmLapsed(ctx, snap, r, due, leader)
}

// askedAtOnce is how many nodes are asked at a time whether they live.
const askedAtOnce = 64

// confirmLapsed takes out of those whose leases lapsed who is not to be dropped now.
func (k *catcher) confirmLapsed(ctx context.Context, snap *Snapshot, r *reading, due map[string]doubt, leader standing) error {
	var ask []*Node
	for name, d := range due {
		if n := snap.live(name); r.lapsed[name] != "" && d.lapsed && n != nil {
			ask = append(ask, n)
		}
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	slots := make(chan struct{}, askedAtOnce)
	for _, n := range ask {
		if r.lags && leader.leases[n.name] {
			delete(r.lapsed, n.name) // it may have been armed, and not been read
			continue
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			if k.lives(ctx, n.name, n.id.incarnation) {
				mu.Lock()
				defer mu.Unlock()
				delete(r.lapsed, n.name)
			}
		})
	}
	asking.Wait()
	return ctx.Err()
}
