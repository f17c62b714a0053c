package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// open connects to a server, or starts one, and begins to observe.
func (s *story) open(ctx context.Context) error {
	began := time.Now()
	s.screen.begin(began, "reach a NATS server", s.rows())
	url := s.url
	if url == "" {
		server, err := embedded.Start()
		if err != nil {
			return err
		}
		s.undo = append(s.undo, server.Close)
		url = server.URL()
	}
	nc, err := nats.Connect(url, nats.Name("rolebus quickstart"))
	if err != nil {
		return fmt.Errorf("connect: %w (without -url a server is started)", err)
	}
	s.undo = append(s.undo, func() error { nc.Close(); return nil })
	told := "a NATS server was started inside this process"
	if s.url != "" {
		told = "connected to " + nc.ConnectedUrlRedacted()
		s.undo = append(s.undo, func() error { return removeBucket(nc, s.bucket) })
	}

	s.bucket = "rolebus-quickstart-" + strings.ToLower(rand.Text()[:8])
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := rolebus.Provision(ctx, nc, rolebus.WithBucket(s.bucket)); err != nil { // it comes before the nodes that it looks at
		return err
	}
	bus, err := rolebus.New(ctx, nc,
		rolebus.WithBucket(s.bucket),
		rolebus.WithObserver(),
		rolebus.WithDefaultScope(shop),
		rolebus.WithScopes(billing),
	)
	if err != nil {
		return err
	}
	s.undo = append(s.undo, bus.Close)
	s.scopes = []*rolebus.Scope{bus.In(shop), bus.In(billing)}
	s.watch()
	s.url = url
	s.screen.tell(time.Since(began), told, s.rows())
	return nil
}

// watch gathers the events of both scopes.
func (s *story) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	for _, scope := range s.scopes {
		watching.Go(func() {
			for ev := range scope.Watch(ctx) {
				select {
				case s.events <- ev:
				case <-ctx.Done():
				}
			}
		})
	}
	s.undo = append(s.undo, func() error { cancel(); watching.Wait(); return nil })
}

func removeBucket(nc *nats.Conn, bucket string) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := js.DeleteKeyValue(ctx, bucket); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("remove the bucket %s: %w", bucket, err)
	}
	return nil
}

// shows says whether the snapshots show the newest process of a name with exactly these roles. Which process a node is
// can be seen by its metadata.
func (s *story) shows(spec nodeSpec) bool {
	pid := s.process(spec.Name).pid()
	for _, scope := range s.scopes {
		n := find(scope, spec.Name)
		switch roles := spec.Roles[scope.Name()]; {
		case n == nil && len(roles) == 0:
		case n == nil || n.Meta("pid") != pid || !slices.Equal(n.Roles().Slice(), roles):
			return false
		}
	}
	return true
}

// gone says whether the snapshots show nothing of a node any more, and the events said why.
func (s *story) gone(spec nodeSpec) bool {
	pid := s.process(spec.Name).pid()
	for _, scope := range s.scopes {
		_, left := s.left[life{scope.Name(), pid}]
		if len(spec.Roles[scope.Name()]) > 0 && !left || find(scope, spec.Name) != nil {
			return false
		}
	}
	return true
}

// reasons tells why nodes went.
func (s *story) reasons(specs ...nodeSpec) string {
	var words []string
	for _, spec := range specs {
		for scope := range spec.Roles {
			words = append(words, s.left[life{scope, s.process(spec.Name).pid()}].String())
		}
	}
	slices.Sort(words)
	return "reason: " + strings.Join(slices.Compact(words), ", ")
}

func find(scope *rolebus.Scope, node string) *rolebus.Node {
	for n := range scope.AllNodes().All() {
		if n.Name() == node {
			return n
		}
	}
	return nil
}

// rows is the table as the snapshots have it now.
func (s *story) rows() []row {
	var rows []row
	for _, name := range []string{"web-1", "worker-1", "worker-2"} {
		r := row{name}
		for i, scope := range s.scopes {
			if n := find(scope, name); n != nil {
				r[1], r[2+i] = n.Meta("pid"), list(n.Roles().Slice())
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func list(roles []rolebus.Role) string {
	var words []string
	for _, role := range roles {
		words = append(words, string(role))
	}
	return strings.Join(words, ", ")
}
