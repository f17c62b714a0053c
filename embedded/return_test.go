package embedded_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

// left hears why a process was no member any more.
type left struct {
	mu  sync.Mutex
	why []string
}

func (l *left) OnLeft(e embedded.LeftInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = append(l.why, e.Reason)
}

func (l *left) reasons() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// began runs a process of three, whose store outlives it.
func began(t *testing.T, dir, name string, opts ...embedded.Option) (*embedded.ClusterServer, *left) {
	t.Helper()
	heard := &left{}
	c, err := embedded.Cluster(t.Context(), discovery.Local(discovery.Directory(filepath.Join(dir, "local"))), append([]embedded.Option{
		embedded.WithSize(3), embedded.WithName(name), embedded.WithStoreDir(filepath.Join(dir, name)), embedded.WithHooks(heard)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c, heard
}

func allReady(t *testing.T, all ...*embedded.ClusterServer) {
	t.Helper()
	for _, c := range all {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		require.NoError(t, c.Ready(ctx))
		cancel()
	}
}

// forget has a process forget who the others were.
func forget(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name, "rolebus-cluster.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var saved map[string]any
	require.NoError(t, json.Unmarshal(text, &saved))
	delete(saved, "peers")
	text, err = json.Marshal(saved)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

// A server that was started anew does not know the name of a peer that it has not met since: nats-server keeps ids alone, and what a process keeps
// may be older than a peer. Who returns after the others were all started anew is a member nevertheless, and what it has stored stays.
func TestWhoReturnsLastKeepsItsStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, _ := began(t, dir, "a")
	b, _ := began(t, dir, "b")
	c, _ := began(t, dir, "c")
	allReady(t, a, b, c)
	for _, each := range []*embedded.ClusterServer{c, b, a} {
		require.NoError(t, each.Close())
	}
	forget(t, dir, "a")
	forget(t, dir, "b")
	a, _ = began(t, dir, "a")
	b, _ = began(t, dir, "b")
	allReady(t, a, b)
	c, heard := began(t, dir, "c")
	allReady(t, c)
	require.Empty(t, heard.reasons(), "its store was emptied")
	require.Equal(t, embedded.Member, c.State().Part)
	for _, m := range c.State().Members {
		require.Equal(t, m.Name, m.Server)
	}
}
