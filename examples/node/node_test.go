//go:build node

// Package node_test runs the JavaScript example beside buses on real servers. It needs Node.js, and "npm ci" in this
// directory before, so it runs only when it is asked for:
//
//	go test -tags node ./examples/node
package node_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

const (
	ttl   = 2 * time.Second
	long  = 30 * time.Second // a TTL that no test waits for
	other = 3                // the status of a member that was superseded
)

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("node"); err != nil {
		fmt.Fprintln(os.Stderr, "these tests need Node.js:", err)
		os.Exit(1)
	}
	if _, err := os.Stat("node_modules"); err != nil {
		fmt.Fprintln(os.Stderr, "these tests need the packages of the example: npm ci")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestMember(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web", rolebus.WithRoles("go"))
	lost := leavings(t, web)
	js := start(t, server.URL(), "größe 1", long, "b", "a", "ü")

	rolebustest.WaitRoles(t, web, "größe 1", "a", "b", "ü")
	js.waitNodes(t, map[string][]string{"größe 1": {"a", "b", "ü"}, "web": {"go"}})

	js.say(t, `{"roles":["c","c"],"meta":{"zone":"b"}}`)
	rolebustest.WaitRoles(t, web, "größe 1", "c")
	require.Equal(t, "b", meta(web, "größe 1", "zone"), "roles and metadata are one change")
	js.say(t, `{"meta":{"größe":"<&>"}}`)
	rolebustest.Eventually(t, "other metadata", func() bool { return meta(web, "größe 1", "größe") == "<&>" })
	require.Empty(t, meta(web, "größe 1", "zone"))
	require.Equal(t, []rolebus.Role{"c"}, web.Roles("größe 1").Slice())

	require.NoError(t, web.SetRoles(t.Context(), "go", "more"))
	js.waitNodes(t, map[string][]string{"größe 1": {"c"}, "web": {"go", "more"}})
	second := bus(server, "second")
	js.waitNodes(t, map[string][]string{"größe 1": {"c"}, "web": {"go", "more"}, "second": {}})
	require.NoError(t, second.Close())
	js.waitNodes(t, map[string][]string{"größe 1": {"c"}, "web": {"go", "more"}})

	require.Empty(t, lost("größe 1"))
	js.say(t, `{"leave":true}`)
	require.Equal(t, 0, js.wait(t), js)
	rolebustest.WaitRoles(t, web, "größe 1")
	rolebustest.Eventually(t, "a goodbye", func() bool {
		return slices.Equal(lost("größe 1"), []rolebus.Reason{rolebus.ReasonLeft})
	})
}

func TestMakesTheBucket(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	js := start(t, server.URL(), "js", ttl, "a")
	js.waitNodes(t, map[string][]string{"js": {"a"}})
	web := bus(server, "web") // it would refuse a bucket that is not as it should be
	rolebustest.WaitRoles(t, web, "js", "a")
}

func TestManyRoles(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	js := start(t, server.URL(), "js", long, "a")
	rolebustest.WaitRoles(t, web, "js", "a")

	var many []rolebus.Role // too many for a header: a notice is announced
	for i := range 3000 {
		many = append(many, rolebus.Role(fmt.Sprintf(`["shard",%d]`, i)))
	}
	command, err := json.Marshal(map[string]any{"roles": many})
	require.NoError(t, err)
	js.say(t, string(command))
	rolebustest.WaitRoles(t, web, "js", many...)
}

func TestKilledIsHidden(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	asked, err := server.Conn().SubscribeSync("rolebus.probe.default.js")
	require.NoError(t, err)
	js := start(t, server.URL(), "js", long, "a")
	rolebustest.WaitRoles(t, web, "js", "a")
	rolebustest.Eventually(t, "it to have answered: who never did is not suspected", func() bool {
		n, _, err := asked.Pending()
		require.NoError(t, err)
		return n >= 3
	})
	require.NoError(t, asked.Unsubscribe()) // or it would be a listener
	js.kill()
	rolebustest.Within(t, 5*time.Second, "web to notice, long before the lease ends", func() bool { return !listed(web, "js") })
}

func TestKilledIsBuried(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	js := start(t, server.URL(), "js", ttl, "a")
	rolebustest.WaitRoles(t, web, "js", "a")
	js.kill()
	stream := stream(t, server)
	rolebustest.Within(t, ttl+5*time.Second, "the server to bury it", func() bool { return last(t, stream, "$KV.rolebus.default.js").Gone == "expired" })
	require.False(t, listed(web, "js"))
}

func TestSuperseded(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	js := start(t, server.URL(), "same", long, "js")
	rolebustest.WaitRoles(t, web, "same", "js")
	announced := announcements(t, server, "same")

	newer := bus(server, "same", rolebus.WithRoles("go"))
	require.Equal(t, other, js.wait(t), js)
	require.True(t, js.said("superseded"), js)
	rolebustest.WaitRoles(t, web, "same", "go")

	require.NoError(t, newer.SetRoles(t.Context(), "still")) // would be refused if anything had been written
	rolebustest.WaitRoles(t, web, "same", "still")
	now := last(t, stream(t, server), "$KV.rolebus.default.same").Incarnation
	rolebustest.Eventually(t, "both announcements", func() bool { return len(announced()) == 2 })
	require.Equal(t, []uint64{now, now}, announced(), "js wrote nothing after it")
	require.Equal(t, now, last(t, stream(t, server), "$KV.rolebus=lease.default.same").Incarnation)
	require.NoError(t, newer.Err())
}

func TestSupersedes(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	lost := leavings(t, web)
	older := bus(server, "same", rolebus.WithRoles("go"))
	rolebustest.WaitRoles(t, web, "same", "go")

	js := start(t, server.URL(), "same", ttl, "js")
	rolebustest.WaitRoles(t, web, "same", "js")
	rolebustest.Eventually(t, "the older one to stop", func() bool {
		select {
		case <-older.Done():
			return true
		default:
			return false
		}
	})
	require.ErrorIs(t, older.Err(), rolebus.ErrSuperseded)
	js.waitNodes(t, map[string][]string{"same": {"js"}, "web": {}})

	newest := start(t, server.URL(), "same", ttl, "newest") // and so it goes on among its own
	rolebustest.WaitRoles(t, web, "same", "newest")
	require.Equal(t, other, js.wait(t), js)
	newest.waitNodes(t, map[string][]string{"same": {"newest"}, "web": {}})
	require.Equal(t, []rolebus.Reason{rolebus.ReasonSuperseded, rolebus.ReasonSuperseded}, lost("same"), "once for each newer life")
}

// What the bucket or the server suffers, nobody is reported lost for it, by either side.
func TestSurvives(t *testing.T) {
	t.Parallel()
	kv := func(server *rolebustest.Server) jetstream.JetStream {
		js, err := jetstream.New(server.Conn())
		require.NoError(t, err)
		return js
	}
	type fault func(*testing.T, *rolebustest.Server, *rolebus.Bus)
	for name, fault := range map[string]fault{
		"the bucket purged": func(t *testing.T, server *rolebustest.Server, _ *rolebus.Bus) {
			require.NoError(t, stream(t, server).Purge(t.Context()))
		},
		"the record deleted": func(t *testing.T, server *rolebustest.Server, _ *rolebus.Bus) {
			bucket, err := kv(server).KeyValue(t.Context(), "rolebus")
			require.NoError(t, err)
			require.NoError(t, bucket.Delete(t.Context(), "default.js"))
		},
		"the bucket deleted and made anew": func(t *testing.T, server *rolebustest.Server, _ *rolebus.Bus) {
			require.NoError(t, kv(server).DeleteStream(t.Context(), "KV_rolebus"))
		},
		"a restart of the server": func(_ *testing.T, server *rolebustest.Server, _ *rolebus.Bus) {
			server.Restart()
		},
		"an outage longer than the TTL": func(t *testing.T, server *rolebustest.Server, web *rolebus.Bus) {
			server.Stop()
			rolebustest.Eventually(t, "all leases to end, and to be late", func() bool { return web.Snapshot().Stale() > ttl+1500*time.Millisecond })
			server.Start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := rolebustest.NewServer(t)
			web := bus(server, "web", rolebus.WithRoles("go"))
			lost := leavings(t, web)
			js := start(t, server.URL(), "js", ttl, "a")
			rolebustest.WaitRoles(t, web, "js", "a")
			js.waitNodes(t, map[string][]string{"js": {"a"}, "web": {"go"}})
			before := last(t, stream(t, server), "$KV.rolebus.default.js")

			fault(t, server, web)
			rolebustest.Eventually(t, "both to be in the bucket", func() bool {
				s := streamOrNil(t, server)
				if s == nil {
					return false
				}
				return last(t, s, "$KV.rolebus.default.js").Roles != nil && last(t, s, "$KV.rolebus.default.web").Roles != nil
			})
			js.say(t, `{"roles":["b"]}`)
			rolebustest.WaitRoles(t, web, "js", "b")
			require.NoError(t, web.SetRoles(t.Context(), "still"))
			js.waitNodes(t, map[string][]string{"js": {"b"}, "web": {"still"}})

			// The leases are there again, too.
			after := last(t, stream(t, server), "$KV.rolebus.default.js")
			require.Equal(t, before.Incarnation, after.Incarnation)
			rolebustest.Eventually(t, "a lease of it", func() bool {
				lease := last(t, stream(t, server), "$KV.rolebus=lease.default.js")
				return lease.Incarnation == after.Incarnation && lease.Version >= after.Version
			})
			require.Empty(t, lost("js"))
			require.Empty(t, lost("web"))
			js.neverLost(t, "js", "web")
			js.say(t, `{"leave":true}`)
			require.Equal(t, 0, js.wait(t), js)
		})
	}
}

// Who asks nobody itself must not hide who follows on it in the ring.
func TestRingGoesOnBehindIt(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	first := bus(server, "a", rolebus.WithTTL(long))
	js := start(t, server.URL(), "b", long, "js")
	rolebustest.WaitRoles(t, first, "b", "js")

	link := server.Link()
	nc := link.Conn(nats.Name("not by this name")) // else the server tells of its death before the ring does
	asked, err := server.Conn().SubscribeSync("rolebus.probe.default.c")
	require.NoError(t, err)
	require.NoError(t, asked.SetPendingLimits(-1, -1))
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	victim, err := rolebus.New(ctx, nc, rolebus.WithNode("c"), rolebus.WithRoles("x"), rolebus.WithTTL(long))
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close(); _ = victim.Close() })
	rolebustest.WaitRoles(t, first, "c", "x")
	js.waitNodes(t, map[string][]string{"a": {}, "b": {"js"}, "c": {"x"}})
	rolebustest.Eventually(t, "the one before js to ask the one behind it", func() bool {
		n, _, err := asked.Pending()
		require.NoError(t, err)
		return n >= 3
	})
	require.NoError(t, asked.Unsubscribe()) // or it would be a listener
	began := time.Now()
	link.Cut()
	rolebustest.Within(t, 5*time.Second, "the death to be seen, long before the lease ends", func() bool { return !listed(first, "c") })
	t.Logf("seen after %v", time.Since(began).Round(time.Millisecond))
	require.True(t, listed(first, "b"))
}

func bus(server *rolebustest.Server, name string, opts ...rolebus.Option) *rolebus.Bus {
	return server.Bus(append([]rolebus.Option{rolebus.WithNode(name), rolebus.WithTTL(ttl)}, opts...)...)
}

func listed(b *rolebus.Bus, name string) bool { return find(b, name) != nil }

func meta(b *rolebus.Bus, name, key string) string { return find(b, name).Meta(key) }

func find(b *rolebus.Bus, name string) *rolebus.Node {
	for n := range b.AllNodes().All() {
		if n.Name() == name {
			return n
		}
	}
	return nil
}

// leavings collects why a bus reported each node lost.
func leavings(t *testing.T, b *rolebus.Bus) func(node string) []rolebus.Reason {
	t.Helper()
	var mu sync.Mutex
	seen := map[string][]rolebus.Reason{}
	watch := b.Watch(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range watch {
			if ev.Kind == rolebus.NodeLeft {
				mu.Lock()
				seen[ev.Node.Name()] = append(seen[ev.Node.Name()], ev.Reason)
				mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { <-done }) // the context of a test ends before this
	return func(node string) []rolebus.Reason {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen[node])
	}
}

// stored is what these tests want to know of a message in the bucket.
type stored struct {
	Incarnation, Version uint64
	Gone                 string
	Roles                []string
}

func stream(t *testing.T, server *rolebustest.Server) jetstream.Stream {
	t.Helper()
	s := streamOrNil(t, server)
	require.NotNil(t, s)
	return s
}

func streamOrNil(t *testing.T, server *rolebustest.Server) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(server.Conn())
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), "KV_rolebus")
	if err != nil {
		return nil
	}
	return s
}

func last(t *testing.T, s jetstream.Stream, subject string) (out stored) {
	t.Helper()
	msg, err := s.GetLastMsgForSubject(t.Context(), subject)
	if err != nil {
		return stored{}
	}
	_ = json.Unmarshal(msg.Data, &out) // somebody else's delete has no body
	return out
}

// announcements collects the incarnations of what is announced of a node.
func announcements(t *testing.T, server *rolebustest.Server, node string) func() []uint64 {
	t.Helper()
	var mu sync.Mutex
	var seen []uint64
	nc := server.Conn()
	_, err := nc.Subscribe("rolebus.changes.default."+node, func(msg *nats.Msg) {
		var out stored
		_ = json.Unmarshal([]byte(msg.Header.Get("Rolebus")), &out)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, out.Incarnation)
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return func() []uint64 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// child is a process of the example.
type child struct {
	cmd   *exec.Cmd
	stdin io.Writer
	ended chan struct{}

	mu     sync.Mutex
	stderr bytes.Buffer
	events []event
}

type event struct {
	Event  string
	Nodes  map[string][]string
	Output json.RawMessage
	Error  json.RawMessage
}

func start(t *testing.T, url, node string, ttl time.Duration, roles ...string) *child {
	t.Helper()
	args := []string{"main.js", "--verbose", "--url", url, "--node", node, "--ttl", fmt.Sprint(ttl.Milliseconds())}
	for _, role := range roles {
		args = append(args, "--roles", role)
	}
	c := &child{cmd: exec.Command("node", args...), ended: make(chan struct{})}
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := c.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	var read sync.WaitGroup
	read.Go(func() { c.listen(stdout) })
	read.Go(func() { c.keep(stderr) })
	go func() {
		read.Wait()
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c)
		}
		c.kill()
	})
	return c
}

func (c *child) listen(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var ev event
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			ev.Event = "unreadable: " + lines.Text()
		}
		c.mu.Lock()
		c.events = append(c.events, ev)
		c.mu.Unlock()
	}
}

func (c *child) keep(stderr io.Reader) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		c.mu.Lock()
		fmt.Fprintf(&c.stderr, "%s\n", lines.Text())
		c.mu.Unlock()
	}
}

// kill ends the process without a goodbye, if it is still there.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// wait returns the exit status.
func (c *child) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(15 * time.Second):
		require.FailNow(t, "the example does not end", "%v", c)
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) say(t *testing.T, command string) {
	t.Helper()
	_, err := fmt.Fprintln(c.stdin, command)
	require.NoError(t, err)
}

func (c *child) said(name string) bool {
	return slices.ContainsFunc(c.all(), func(ev event) bool { return ev.Event == name })
}

func (c *child) all() []event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// waitNodes waits until the example shows just these nodes, each with its roles.
func (c *child) waitNodes(t *testing.T, want map[string][]string) {
	t.Helper()
	rolebustest.Eventually(t, fmt.Sprint("js to show ", want), func() bool {
		for _, ev := range slices.Backward(c.all()) {
			if ev.Event == "nodes" {
				return maps.EqualFunc(ev.Nodes, want, slices.Equal)
			}
		}
		return false
	})
}

// neverLost checks that a node was shown ever after it was shown at first.
func (c *child) neverLost(t *testing.T, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		shown := false
		for _, ev := range c.all() {
			if ev.Event == "nodes" {
				_, now := ev.Nodes[node]
				require.False(t, shown && !now, "%s was lost: %v", node, c)
				shown = now
			}
		}
	}
}

func (c *child) String() string {
	events := c.all()
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%v\nstdout: %v\nstderr: %s", c.cmd.Args, events, c.stderr.String())
}
