package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

const (
	atOnce   = 64                     // a worker does so many jobs at the same time, and refuses what is more
	quiet    = 500 * time.Millisecond // a worker that leaves has heard of no job for so long: whoever sends them knows
	patience = 10 * time.Second       // leaving takes no longer, whatever happens
)

// work does jobs until ctx is over, and then those that it was given before everybody knew that it leaves.
func work(ctx context.Context, url string, opts ...rolebus.Option) error {
	bus, err := rolebus.Connect(ctx, url, opts...)
	if err != nil {
		return err
	}
	defer bus.Close()

	// It listens first and has the role then: who sees the role can send a job at once.
	sub, err := bus.Conn().SubscribeSync(subject(bus.Snapshot().Node(bus.Name())))
	if err != nil {
		return err
	}
	leaving, leave := context.WithCancel(context.Background())
	defer leave()
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(leaving, sub)
	}()
	// Shutdown calls this a quarter of a second after the role went, and waits for it before the goodbye: until that the node is
	// listed, so that those who wait for its answers do not give it up.
	bus.OnShutdown(func(ctx context.Context) {
		leave()
		select {
		case <-served:
		case <-ctx.Done():
		}
	})
	if err := bus.AddRoles(ctx, worker); err != nil {
		return err
	}

	select {
	case <-ctx.Done():
	case <-bus.Done(): // a newer process has this node's name
		return bus.Err()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return bus.Shutdown(ctx)
}

// serve does the jobs that come. When it is leaving nobody picks this worker any more who has heard of it. But one who has far too
// much to do may hear of it late, or has picked it before and sends late: so it goes on until it was quiet for a while.
func serve(leaving context.Context, sub *nats.Subscription) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, atOnce)
	for sub.IsValid() {
		last := leaving.Err() != nil // asked first: all of the silence must come after it
		msg, err := sub.NextMsg(quiet)
		switch {
		case last && errors.Is(err, nats.ErrTimeout):
			_ = sub.Drain() // what is on its way all the same still comes; then the subscription is not valid any more
		case err == nil:
			select {
			case slots <- struct{}{}:
				running.Go(func() {
					handle(msg)
					<-slots
				})
			default:
				_ = msg.Respond(encode(Result{Refused: "busy"}))
			}
		}
	}
}

// handle does a job and tells the result. An answer that does not get through is as good as none: somebody else is given the
// job then.
func handle(msg *nats.Msg) {
	var job Job
	if err := json.Unmarshal(msg.Data, &job); err != nil {
		_ = msg.Respond(encode(Result{Refused: err.Error()}))
		return
	}
	_ = msg.Respond(encode(job.do()))
}
