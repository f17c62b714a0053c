package rolebus

import (
	"context"
	"math/rand/v2"
	"time"
)

// What keeps many processes that join, or connect again, at about the same time from standing in each other's way.

const (
	lateAnswer = 250 * time.Millisecond // is given by servers that have much to do, or far away
	veryLate   = time.Second            // none is so far away
	lateTries  = 2
	veryTries  = 8
	lateWait   = 5 // times as long as the answer took, at the most
)

// calmly asks the servers something. If they answer late, for the way to them, it lets a while pass, and asks again: perhaps many
// join at once, of whom everybody hears, and those who have joined must not lose their leases over it. To wait and ask again spends
// no more than half of the time that is left, if the next answer takes no longer than this one.
func calmly(ctx context.Context, way time.Duration, ask func() error) error {
	for try := 1; ; try++ {
		asked := time.Now()
		err := ask()
		whole := time.Since(asked)
		took := whole - way
		if err != nil || took < lateAnswer || try >= lateTries && took < veryLate || try == veryTries {
			return err
		}
		wait := rand.N(lateWait * min(took, time.Second))
		if end, ok := ctx.Deadline(); ok && wait+whole > time.Until(end)/2 {
			return nil
		}
		if !sleep(ctx, wait) {
			return ended(ctx)
		}
	}
}
