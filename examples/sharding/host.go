package main

import (
	"context"
	"errors"

	"github.com/rolebus/rolebus"
)

const hostRole = rolebus.Role("shard-host")

// shardRoles are the roles of owning each shard.
var shardRoles = func() []rolebus.Role {
	roles := make([]rolebus.Role, 16)
	for shard := range roles {
		role, err := rolebus.RoleOf([]any{"shard", shard})
		if err != nil {
			panic(err) // text and numbers are always a role
		}
		roles[shard] = role
	}
	return roles
}()

// host is a process that owns shards.
type host struct {
	bus   *rolebus.Bus
	ended chan error // what own returned
}

func startHost(ctx context.Context, url, bucket, name string) (*host, error) {
	bus, err := rolebus.Connect(ctx, url,
		rolebus.WithBucket(bucket),
		rolebus.WithNode(name),
		rolebus.WithRoles(hostRole),
	)
	if err != nil {
		return nil, err
	}
	h := &host{bus: bus, ended: make(chan error, 1)}
	go func() { h.ended <- h.own(context.Background()) }()
	return h, nil
}

// own takes this host's shards whenever a host came or went, until the Bus is closed.
//
// A snapshot is what this process knows: soon, but not at once, what the others know. While hosts come and go two may
// hold a shard for a moment, or nobody. Work that must never be done twice needs a fence where it is stored.
func (h *host) own(ctx context.Context) error {
	for ev := range h.bus.Watch(ctx) {
		if ev.Role != hostRole {
			continue
		}
		roles, hosts := []rolebus.Role{hostRole}, h.bus.Nodes(hostRole)
		for _, shard := range shardRoles {
			if owner := hosts.Owner(string(shard)); owner != nil && h.bus.IsLocal(owner.Name()) {
				roles = append(roles, shard)
			}
		}
		// All that changes is one announcement; if nothing does, nothing is written.
		if err := h.bus.SetRoles(ctx, roles...); err != nil && !errors.Is(err, rolebus.ErrClosed) {
			return err
		}
	}
	return nil
}

// leave closes the Bus: the others see it at once, and take the shards over.
func (h *host) leave() error { return errors.Join(h.bus.Close(), <-h.ended) }
