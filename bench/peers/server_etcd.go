package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// The kinds of etcd servers.
const (
	etcdDefault = ""
	etcdNoFsync = "nofsync" // leaves it to the system when files reach the disk, as NATS does by default
)

func playEtcd(_ context.Context, p *process.Process) error {
	anyPort, err := url.Parse("http://127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Dir = p.Config.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*anyPort}, []url.URL{*anyPort}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*anyPort}, []url.URL{*anyPort}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = p.Config.System == etcdNoFsync
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return err
	case <-time.After(process.Patience):
		return fmt.Errorf("not ready in %v", process.Patience)
	}
	p.Stay("http://" + e.Clients[0].Addr().String())
	return nil
}

func dialEtcd(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: process.Patience, Logger: zap.NewNop(),
	})
}

// endEtcd closes a client whose context may be over; that this has ended its watches is no mistake.
func endEtcd(client *clientv3.Client) closer {
	return func() error {
		if err := client.Close(); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
}

// watchEtcd calls saw with each event below the prefix until ctx is over, and returns when the server has the watch.
func watchEtcd(ctx context.Context, client *clientv3.Client, prefix string, saw func(*clientv3.Event)) error {
	updates := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	select {
	case first, open := <-updates:
		if !open || !first.Created {
			return errors.Join(errors.New("etcd: no watch was made"), first.Err())
		}
	case <-time.After(process.Patience):
		return fmt.Errorf("etcd: no watch was made in %v", process.Patience)
	}
	go func() {
		for answer := range updates {
			for _, ev := range answer.Events {
				saw(ev)
			}
		}
	}()
	return nil
}
