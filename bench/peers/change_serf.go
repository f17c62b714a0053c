package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/serf/serf"
)

// serfWriter is all agents but the reader's; one of them changes its tags.
type serfWriter struct{ agents []*serf.Serf }

func writeSerf(context.Context, string) (writer, error) {
	agents, err := startSerfs(serfAgents - 1)
	return serfWriter{agents}, err
}

func (w serfWriter) write(_ context.Context, n int) error {
	last := w.agents[len(w.agents)-1]
	return last.SetTags(map[string]string{"version": strconv.Itoa(n), "pad": pad})
}

func (w serfWriter) address() string { return serfAddress(w.agents[0]) }
func (w serfWriter) close() error    { return stopSerfs(w.agents) }

func readSerf(ctx context.Context, address string, saw func(int, time.Time)) (closer, error) {
	events := make(chan serf.Event, 1<<10)
	agent, err := startSerf("reader", address, nil, events)
	if err != nil {
		return nil, err
	}
	if err := serfComplete(ctx, agent); err != nil {
		return agent.Shutdown, err
	}
	go func() {
		for ev := range serfEvents(ctx, events) {
			at := time.Now()
			for _, m := range ev.Members {
				if version, has := m.Tags["version"]; has && ev.Type == serf.EventMemberUpdate {
					saw(must(strconv.Atoi(version)), at)
				}
			}
		}
	}()
	return agent.Shutdown, nil
}

// serfEvents yields what happens to members until ctx is over.
func serfEvents(ctx context.Context, events <-chan serf.Event) func(yield func(serf.MemberEvent) bool) {
	return func(yield func(serf.MemberEvent) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case ev := <-events:
				if of, is := ev.(serf.MemberEvent); is && !yield(of) {
					return
				}
			}
		}
	}
}

// serfComplete waits until an agent knows of a full cluster.
func serfComplete(ctx context.Context, agent *serf.Serf) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(10 * time.Second); agent.NumNodes() < serfAgents; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline:
			return errors.New(fmt.Sprint("serf: ", agent.NumNodes(), " agents know each other, want ", serfAgents))
		case <-poll.C:
		}
	}
	return nil
}
