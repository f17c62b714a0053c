package main

import (
	"context"
	"errors"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// What an observer reports of a node.
const (
	sawJoined = iota + 1
	sawGone
)

// members take part under a name until their context is over, and return when they do. Observers call saw when they see that
// a node is there or gone; they are in place when the function returns.
var members = map[string]func(ctx context.Context, cfg process.Config) error{
	"rolebus": memberRolebus, "kv": memberKV, "etcd": memberEtcd, "serf": memberSerf,
}

var observers = map[string]func(ctx context.Context, cfg process.Config, saw func(node string, what int)) (closer, error){
	"rolebus": observeRolebus, "kv": observeKV, "etcd": observeEtcd, "serf": observeSerf,
}

// playMember takes part until it is killed.
func playMember(ctx context.Context, p *process.Process) error {
	join := members[p.Config.System]
	if join == nil {
		return errors.New("nobody takes part so")
	}
	if err := join(ctx, p.Config); err != nil {
		return err
	}
	p.Stay("")
	return nil
}

func playObserver(ctx context.Context, p *process.Process) error {
	observe := observers[p.Config.System]
	if observe == nil {
		return errors.New("nobody observes so")
	}
	end, err := observe(ctx, p.Config, func(node string, what int) {
		p.Say(process.Report{Kind: process.Event, Text: node, N: what, At: time.Now().UnixNano()})
	})
	if err != nil {
		return err
	}
	p.Stay("")
	return end()
}
