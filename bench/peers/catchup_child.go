package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// newcomer reads all records of the large scope, and gives each to keep.
type newcomer interface {
	read(ctx context.Context, keep func(record []byte) error) (records int, err error)
	forget(ctx context.Context) error // as if nothing had been read
	close() error
}

func newNewcomer(ctx context.Context, cfg process.Config) (newcomer, error) {
	switch cfg.System {
	case "kv", "kv index", "kv written":
		nc, js, err := dial(cfg.URL)
		if err != nil {
			return nil, err
		}
		kv, err := js.KeyValue(ctx, "rolebus")
		scope := largeScope
		if cfg.System == "kv written" {
			scope = writtenScope
		}
		return &kvNewcomer{nc: nc, kv: kv, scope: scope}, err
	case "rolebus":
		bus, err := rolebus.Connect(ctx, cfg.URL, rolebus.WithObserver())
		return rolebusNewcomer{bus}, err
	case "etcd", "etcd index":
		client, err := dialEtcd(cfg.URL)
		return etcdNewcomer{client}, err
	}
	return nil, errors.New("nobody catches up so")
}

// roleIndex is the least that somebody needs who asks for the nodes of a role.
type roleIndex map[string][]string

func (x roleIndex) keep(record []byte) error {
	var r struct {
		Node  string   `json:"node"`
		Roles []string `json:"roles"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	for _, role := range r.Roles {
		x[role] = append(x[role], r.Node)
	}
	return nil
}

// playCatchUp reads everything with each order.
func playCatchUp(ctx context.Context, p *process.Process) error {
	n, err := newNewcomer(ctx, p.Config)
	if err != nil {
		return err
	}
	p.Obey("", func(process.Order) (process.Report, error) {
		keep := func([]byte) error { return nil }
		if strings.HasSuffix(p.Config.System, " index") {
			keep = roleIndex{}.keep
		}
		from := time.Now()
		got, err := n.read(ctx, keep)
		at := time.Now()
		if err == nil && got != p.Config.Count {
			err = fmt.Errorf("%d records were read, want %d", got, p.Config.Count)
		}
		return process.Report{From: from.UnixNano(), At: at.UnixNano()}, errors.Join(err, n.forget(ctx))
	})
	return n.close()
}

type kvNewcomer struct {
	nc    *nats.Conn
	kv    jetstream.KeyValue
	scope string
	watch jetstream.KeyWatcher
}

func (n *kvNewcomer) read(ctx context.Context, keep func([]byte) error) (records int, err error) {
	if n.watch, err = n.kv.Watch(ctx, n.scope+".*"); err != nil {
		return 0, err
	}
	for entry := range n.watch.Updates() {
		if entry == nil {
			break
		}
		if err := keep(entry.Value()); err != nil {
			return 0, err
		}
		records++
	}
	return records, nil
}

func (n *kvNewcomer) forget(context.Context) error { return n.watch.Stop() }

func (n *kvNewcomer) close() error {
	n.nc.Close()
	return nil
}

type rolebusNewcomer struct{ bus *rolebus.Bus }

func (n rolebusNewcomer) read(ctx context.Context, _ func([]byte) error) (int, error) {
	scope, err := n.bus.Join(ctx, writtenScope)
	if err != nil {
		return 0, err
	}
	return scope.Nodes("role").Len(), nil
}

func (n rolebusNewcomer) forget(ctx context.Context) error { return n.bus.Leave(ctx, writtenScope) }
func (n rolebusNewcomer) close() error                     { return n.bus.Close() }

type etcdNewcomer struct{ client *clientv3.Client }

func (n etcdNewcomer) read(ctx context.Context, keep func([]byte) error) (int, error) {
	got, err := n.client.Get(ctx, largeScope+"/", clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	for _, pair := range got.Kvs {
		if err := keep(pair.Value); err != nil {
			return 0, err
		}
	}
	return len(got.Kvs), nil
}

func (n etcdNewcomer) forget(context.Context) error { return nil }
func (n etcdNewcomer) close() error                 { return n.client.Close() }
