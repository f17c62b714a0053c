package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

const bystanderName = "bystander"

// playBystander knows all nodes, does nothing else, and tells what came in and what it cost between "begin" and "end".
func playBystander(ctx context.Context, p *process.Process) error {
	nc, js, err := dial(p.Config.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	switch p.Config.System {
	case "idle":
	case "kv":
		watch, err := watchDirectory(ctx, js)
		if err != nil {
			return err
		}
		go func() {
			for range watch.Updates() {
			}
		}()
	case "rolebus":
		bus, err := rolebus.New(ctx, nc, rolebus.WithNode(bystanderName), rolebus.WithTTL(3*heartbeat))
		if err != nil {
			return err
		}
		defer bus.Close()
		if got := bus.AllNodes().Len(); got != p.Config.Count {
			return fmt.Errorf("%d nodes are listed, want %d", got, p.Config.Count)
		}
	}
	var from meter
	p.Obey("", func(o process.Order) (process.Report, error) {
		now, err := read(nc)
		if err != nil || o.Do == "begin" {
			from = now
			return process.Report{}, err
		}
		return process.Report{Values: map[string]float64{
			"messages": float64(now.messages - from.messages),
			"cpu":      (now.cpu - from.cpu).Seconds(),
			"seconds":  now.at.Sub(from.at).Seconds(),
		}}, nil
	})
	return nil
}

// meter is what this process has heard and needed so far.
type meter struct {
	messages uint64
	cpu      time.Duration
	at       time.Time
}

func read(nc *nats.Conn) (meter, error) {
	cpu, err := cpuTime()
	if err != nil {
		return meter{}, err
	}
	return meter{messages: nc.Stats().InMsgs, cpu: cpu, at: time.Now()}, nil
}
