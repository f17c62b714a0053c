package main

import (
	"context"
	"time"

	"github.com/rolebus/rolebus"
)

type rolebusWriter struct{ bus *rolebus.Bus }

func writeRolebus(ctx context.Context, url string) (writer, error) {
	bus, err := rolebus.Connect(ctx, url, rolebus.WithNode("writer"), rolebus.WithMeta(map[string]string{"pad": pad}))
	return rolebusWriter{bus}, err
}

// write adds a role, and takes it away the next time.
func (w rolebusWriter) write(ctx context.Context, n int) error {
	if n%2 == 1 {
		return w.bus.AddRoles(ctx, "role")
	}
	return w.bus.RemoveRoles(ctx, "role")
}

func (w rolebusWriter) address() string { return "" }
func (w rolebusWriter) close() error    { return w.bus.Close() }

func readRolebus(ctx context.Context, url string, saw func(int, time.Time)) (closer, error) {
	bus, err := rolebus.Connect(ctx, url, rolebus.WithNode("reader"))
	if err != nil {
		return nil, err
	}
	go func() {
		n := 0
		for ev := range bus.Watch(ctx) {
			if ev.Role == "role" {
				at := time.Now()
				n++
				if added := ev.Kind == rolebus.RoleAdded; added != (n%2 == 1) {
					n = -1 // not what was written: the parent notices
				}
				saw(n, at)
			}
		}
	}()
	return bus.Close, nil
}
