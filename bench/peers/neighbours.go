package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const probeSubject = "rolebus.probe.default."

// answerProbes does for the bystander what its neighbours in a real fleet would do: they answer its probes, and two of them
// ask it in each interval, which is 1 ms for each node. It goes on until ctx is over.
func answerProbes(ctx context.Context, nc *nats.Conn, count int) error {
	if _, err := nc.Subscribe(probeSubject+"*", func(msg *nats.Msg) {
		if strings.HasSuffix(msg.Subject, "."+bystanderName) {
			return // this process's own question, which the bystander answers
		}
		_ = msg.Respond(fmt.Appendf(nil, `{"format":1,"server":%q,"incarnation":%d}`, nc.ConnectedServerId(), firstIncarnation))
	}); err != nil {
		return err
	}
	inbox := nc.NewInbox()
	if _, err := nc.Subscribe(inbox, func(*nats.Msg) {}); err != nil {
		return err
	}
	go func() {
		ask := time.NewTicker(time.Duration(count) * time.Millisecond / 2)
		defer ask.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ask.C:
				_ = nc.PublishRequest(probeSubject+bystanderName, inbox, nil) // fails only when the connection is closed
			}
		}
	}()
	return nc.Flush()
}
