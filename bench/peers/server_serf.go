package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/serf/serf"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// serfAgents is how many agents a Serf cluster has, in all its processes.
const serfAgents = 10

// playSerf runs as many agents as Count says and tells where to join them.
func playSerf(_ context.Context, p *process.Process) error {
	agents, err := startSerfs(p.Config.Count)
	if err != nil {
		return err
	}
	p.Stay(serfAddress(agents[0]))
	return stopSerfs(agents)
}

// startSerfs starts agents and joins them.
func startSerfs(count int) ([]*serf.Serf, error) {
	var agents []*serf.Serf
	for i := range count {
		join := ""
		if i > 0 {
			join = serfAddress(agents[0])
		}
		agent, err := startSerf(fmt.Sprint("agent-", i), join, nil, nil)
		if err != nil {
			return nil, errors.Join(err, stopSerfs(agents))
		}
		agents = append(agents, agent)
	}
	return agents, nil
}

// startSerf starts an agent on loopback, with the defaults for a LAN.
func startSerf(name, join string, tags map[string]string, events chan<- serf.Event) (*serf.Serf, error) {
	cfg := serf.DefaultConfig()
	cfg.NodeName, cfg.Tags, cfg.EventCh, cfg.LogOutput = name, tags, events, io.Discard
	cfg.MemberlistConfig.BindAddr, cfg.MemberlistConfig.BindPort = "127.0.0.1", 0
	cfg.MemberlistConfig.LogOutput = io.Discard
	agent, err := serf.Create(cfg)
	if err != nil {
		return nil, err
	}
	if join != "" {
		if _, err := agent.Join([]string{join}, false); err != nil {
			return nil, errors.Join(err, agent.Shutdown())
		}
	}
	return agent, nil
}

func serfAddress(s *serf.Serf) string {
	self := s.LocalMember()
	return fmt.Sprintf("%s:%d", self.Addr, self.Port)
}

// stopSerfs stops agents without a goodbye: nobody is left to hear it.
func stopSerfs(agents []*serf.Serf) error {
	var errs []error
	for _, a := range agents {
		errs = append(errs, a.Shutdown())
	}
	return errors.Join(errs...)
}
