package main

import (
	"context"
	"time"

	"github.com/hashicorp/serf/serf"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

func memberRolebus(ctx context.Context, cfg process.Config) error {
	_, err := rolebus.Connect(ctx, cfg.URL, rolebus.WithNode(cfg.Node), rolebus.WithRoles("role"))
	return err
}

func observeRolebus(ctx context.Context, cfg process.Config, saw func(string, int)) (closer, error) {
	bus, err := rolebus.Connect(ctx, cfg.URL, rolebus.WithNode("observer"))
	if err != nil {
		return nil, err
	}
	go func() {
		for ev := range bus.Watch(ctx) {
			switch ev.Kind {
			case rolebus.NodeJoined:
				saw(ev.Node.Name(), sawJoined)
			case rolebus.NodeLeft:
				saw(ev.Node.Name(), sawGone)
			}
		}
	}()
	return bus.Close, nil
}

// memberKV writes a key with a TTL and renews it. Put takes no TTL and Update drops it, so that it is published by hand.
func memberKV(ctx context.Context, cfg process.Config) error {
	_, js, err := dial(cfg.URL)
	if err != nil {
		return err
	}
	if _, err := directory(ctx, js); err != nil {
		return err
	}
	renew := func() error {
		msg := &nats.Msg{Subject: "$KV.directory." + cfg.Node, Data: record(1)}
		_, err := js.PublishMsg(ctx, msg, jetstream.WithMsgTTL(cfg.TTL))
		return err
	}
	if err := renew(); err != nil {
		return err
	}
	go func() {
		beat := time.NewTicker(cfg.TTL / 3)
		defer beat.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				_ = renew() // the next one comes soon
			}
		}
	}()
	return nil
}

func observeKV(ctx context.Context, cfg process.Config, saw func(string, int)) (closer, error) {
	nc, js, err := dial(cfg.URL)
	if err != nil {
		return nil, err
	}
	end := func() error { nc.Close(); return nil }
	watch, err := watchDirectory(ctx, js)
	if err != nil {
		return end, err
	}
	go func() {
		for entry := range watch.Updates() {
			what := sawJoined
			if entry.Operation() != jetstream.KeyValuePut {
				what = sawGone
			}
			saw(entry.Key(), what)
		}
	}()
	return end, nil
}

func memberEtcd(ctx context.Context, cfg process.Config) error {
	client, err := dialEtcd(cfg.URL)
	if err != nil {
		return err
	}
	lease, err := client.Grant(ctx, int64(cfg.TTL.Seconds()))
	if err != nil {
		return err
	}
	kept, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	go func() {
		for range kept {
		}
	}()
	_, err = client.Put(ctx, "nodes/"+cfg.Node, string(record(1)), clientv3.WithLease(lease.ID))
	return err
}

func observeEtcd(ctx context.Context, cfg process.Config, saw func(string, int)) (closer, error) {
	client, err := dialEtcd(cfg.URL)
	if err != nil {
		return nil, err
	}
	return endEtcd(client), watchEtcd(ctx, client, "nodes/", func(ev *clientv3.Event) {
		what := sawJoined
		if ev.Type == clientv3.EventTypeDelete {
			what = sawGone
		}
		saw(string(ev.Kv.Key[len("nodes/"):]), what)
	})
}

func memberSerf(ctx context.Context, cfg process.Config) error {
	agent, err := startSerf(cfg.Node, cfg.URL, map[string]string{"role": ""}, nil)
	if err != nil {
		return err
	}
	return serfComplete(ctx, agent)
}

func observeSerf(ctx context.Context, cfg process.Config, saw func(string, int)) (closer, error) {
	events := make(chan serf.Event, 1<<10)
	agent, err := startSerf("observer", cfg.URL, nil, events)
	if err != nil {
		return nil, err
	}
	go func() {
		for ev := range serfEvents(ctx, events) {
			for _, m := range ev.Members {
				switch ev.Type {
				case serf.EventMemberJoin:
					saw(m.Name, sawJoined)
				case serf.EventMemberFailed:
					saw(m.Name, sawGone)
				}
			}
		}
	}()
	return agent.Shutdown, nil
}
