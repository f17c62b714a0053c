package rolebus

import (
	"context"
	"math/rand/v2"
	"time"
)

// What keeps many processes that join, or connect again, at about the same time from standing in each other's way.

const (
	lateAnswer = 250 * time.Millisecond // is given by servers that have much to do
	lateTries  = 8
	lateWait   = 5 // times as long as the answer took, at the most
)

// calmly asks the servers something. If they answer late it lets a while pass, and asks again: perhaps many join at
// once, of whom everybody hears, and those who have joined must not lose their leases over it.
func calmly(ctx context.Context, ask func() error) error {
	for try := 1; ; try++ {
		asked := time.Now()
		err := ask()
		took := time.Since(asked)
		if err != nil || took < lateAnswer || try == lateTries {
			return err
		}
		if !sleep(ctx, rand.N(lateWait*min(took, time.Second))) {
			return context.Cause(ctx)
		}
	}
}
