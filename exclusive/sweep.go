package exclusive

import (
	"context"
	"time"
)

// Claims outlive the nodes that made them, so that whoever comes next knows the last token. For ever would be too long: names may come and go.

const sweepEvery = 10 * time.Minute

// sweep gives up, now and then, what nodes have left behind that have been gone for an hour beyond their lease, until the Bus stops.
func (b *book) sweep(ctx context.Context) {
	for sleep(ctx, sweepEvery) {
		b.sweepAt(ctx, time.Now())
	}
}

// sweepAt gives up what is left behind at a time. Of all who might do so one is chosen for each post; if it does not, because it has never
// read the claims of the scope, another one does when it has gone.
func (b *book) sweepAt(ctx context.Context, now time.Time) {
	members := b.scope.Snapshot().Members()
	left := map[post]standing{}
	b.mu.Lock()
	for p, k := range b.posts {
		if k.left(now) && !k.busy && !k.mending && len(k.waiting) == 0 {
			if owner := members.Owner(p.String()); owner != nil && owner.Name() == b.bus.Name() {
				left[p] = k.standing
			}
		}
	}
	b.mu.Unlock()
	for p, k := range left {
		if incarnation, _, err := b.scope.Standing(ctx, k.claim.node); err != nil || incarnation == k.claim.incarnation {
			continue
		}
		_, _ = b.write(ctx, b.shelfOf(p.kind), p, k.claim.encode(), k.base, true) // or next time
	}
}

// left says whether a claim was left behind: for an hour nobody can have been certain by it. A lease may be longer than that.
func (k *standing) left(now time.Time) bool {
	return k.stands && !k.absent.IsZero() && now.Sub(k.absent) > endMemory+k.claim.ttl
}

func (b *book) shelfOf(kind string) *shelf {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shelves[kind]
}
