package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rolebus/rolebus"
)

// demo is a small fleet in this process, to look at: nodes come, change and go until ctx is over.
func demo(ctx context.Context, url, bucket string) (err error) {
	fleet := map[string]*rolebus.Bus{}
	defer func() {
		for _, bus := range fleet {
			err = errors.Join(err, bus.Close())
		}
	}()
	roles := []rolebus.Role{"api", "worker", "cache", "primary"}
	for step := 0; ; step++ {
		name := fmt.Sprintf("node-%d", rand.IntN(6)+1)
		if step < 4 {
			name = fmt.Sprintf("node-%d", step+1)
		}
		switch bus := fleet[name]; {
		case bus == nil:
			bus, err := rolebus.Connect(ctx, url,
				rolebus.WithBucket(bucket), rolebus.WithNode(name), rolebus.WithScopes("billing"),
				rolebus.WithRoles(roles[rand.IntN(len(roles))]),
				rolebus.WithMeta(map[string]string{"zone": string("abc"[rand.IntN(3)])}))
			if err != nil {
				return unlessOver(ctx, err)
			}
			fleet[name] = bus
		case rand.IntN(4) == 0:
			delete(fleet, name)
			if err := bus.Close(); err != nil {
				return unlessOver(ctx, err)
			}
		default:
			scope := []*rolebus.Scope{bus.Scope, bus.In("billing")}[rand.IntN(2)]
			rand.Shuffle(len(roles), func(i, j int) { roles[i], roles[j] = roles[j], roles[i] })
			if err := scope.SetRoles(ctx, roles[:rand.IntN(len(roles)+1)]...); err != nil {
				return unlessOver(ctx, err)
			}
		}
		wait := time.NewTimer(time.Duration(500+rand.IntN(1500)) * time.Millisecond)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil
		}
	}
}

// unlessOver returns an error, unless it only says that the demo is over.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
