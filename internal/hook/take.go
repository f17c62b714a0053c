package hook

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// Take makes a queue for each hook. Missed returns what tells a hook that events were too many for it, or nil; hears has the queue listen to
// what the hook wants to hear, and returns for each event whether it does.
func Take[H any](given []H, log *slog.Logger, missed func(H) func(events int), hears func(H, *Queue) []bool) (queues []*Queue, err error) {
	var errs []error
	for i, one := range given {
		if any(one) == nil {
			errs = append(errs, fmt.Errorf("hook %d is nil", i+1))
			continue
		}
		q := NewQueue(one, log, missed(one))
		if !slices.Contains(hears(one, q), true) {
			errs = append(errs, fmt.Errorf("hook %d, a %T, has the method of no event: is it of another receiver, name or signature?", i+1, one))
		}
		queues = append(queues, q)
	}
	return queues, errors.Join(errs...)
}
