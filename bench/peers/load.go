package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// playLoad stores records. The order's word is the scope, its number how many roles the scope is to have; in the scope
// for catching up, how many records. Nobody renews these records, and nobody buries them: they have no lease.
func playLoad(ctx context.Context, p *process.Process) error {
	if p.Config.System == "etcd" {
		client, err := dialEtcd(p.Config.URL)
		if err != nil {
			return err
		}
		defer client.Close()
		p.Obey("", func(o process.Order) (process.Report, error) { return process.Report{}, loadEtcd(ctx, client, o.N) })
		return nil
	}
	nc, js, err := dial(p.Config.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := rolebus.Provision(ctx, nc); err != nil {
		return err
	}
	p.Obey("", func(o process.Order) (process.Report, error) {
		if o.Do != largeScope {
			return process.Report{}, loadNATS(ctx, js, o.Do, readNodes, true, func(i int) []string { return readRoles(i, o.N) })
		}
		roles := func(int) []string { return []string{"role"} }
		return process.Report{}, errors.Join(
			loadNATS(ctx, js, largeScope, o.N, false, roles), loadNATS(ctx, js, writtenScope, o.N, true, roles))
	})
	return nil
}

// loadNATS writes records, with headers as rolebus does, or bare.
func loadNATS(ctx context.Context, js jetstream.JetStream, scope string, count int, headers bool, roles func(i int) []string) error {
	fleet, err := fleetOf(ctx, js)
	if err != nil {
		return err
	}
	_, err = publishAll(ctx, js, count, func(i int) (*nats.Msg, error) {
		body, err := nodeRecord(scope, nodeName(i), roles(i)...)
		msg := &nats.Msg{Subject: "$KV.rolebus." + scope + "." + nodeName(i), Data: body}
		if err == nil && headers {
			msg.Header, err = nodeHeader(fleet, roles(i)...)
		}
		return msg, err
	})
	return err
}

// fleetOf returns the identity that the bucket was made with.
func fleetOf(ctx context.Context, js jetstream.JetStream) (string, error) {
	stream, err := js.Stream(ctx, "KV_rolebus")
	if err != nil {
		return "", err
	}
	return stream.CachedInfo().Config.Metadata["rolebus.fleet"], nil
}

// etcdBatch is how many keys one transaction writes; a server takes 128 by default.
const etcdBatch = 100

func loadEtcd(ctx context.Context, client *clientv3.Client, count int) error {
	for from := 0; from < count; from += etcdBatch {
		var puts []clientv3.Op
		for i := from; i < min(from+etcdBatch, count); i++ {
			body, err := nodeRecord(largeScope, nodeName(i), "role")
			if err != nil {
				return err
			}
			puts = append(puts, clientv3.OpPut(largeScope+"/"+nodeName(i), string(body)))
		}
		if _, err := client.Txn(ctx).Then(puts...).Commit(); err != nil {
			return fmt.Errorf("load keys from %d on: %w", from, err)
		}
	}
	return nil
}
