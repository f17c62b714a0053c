package nats_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// Real processes, for what only a process can suffer: to be killed, and to be frozen. The test's own binary starts again, as a
// server of a cluster or as a node, and ends when its standard input does.

const (
	roleOfProcess = "ROLEBUS_TEST_PROCESS"
	processNode   = "node"
	processServer = "server"
)

// processConfig is what a child process is told.
type processConfig struct {
	URL, Node    string // of a node, or of several
	Nodes        int    // of several
	TTL          time.Duration
	Name, Dir    string // of a server
	Port, Routes int    // of a server: where clients and the other servers connect
	Peers        []int  // route ports of all
}

// otherProcesses are those that only some systems have.
var otherProcesses = map[string]func(*bufio.Reader, processConfig) error{}

// runProcess is the main function of a child process.
func runProcess(role string) (err error) {
	var cfg processConfig
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), &cfg); err != nil {
		return err
	}
	if run := otherProcesses[role]; run != nil {
		return run(in, cfg)
	}
	switch role {
	case processNode:
		b, err := rolebus.Connect(context.Background(), cfg.URL,
			rolebus.WithNode(cfg.Node), rolebus.WithTTL(cmp.Or(cfg.TTL, ttl)), rolebus.WithRoles("process"))
		if err != nil {
			return err
		}
		go func() {
			<-b.Done()
			fmt.Println("ended:", b.Err())
			os.Exit(3)
		}()
	case processServer:
		o := &server.Options{
			ServerName: cfg.Name, Host: "127.0.0.1", Port: cfg.Port, JetStream: true, StoreDir: cfg.Dir, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "processes", Host: "127.0.0.1", Port: cfg.Routes},
		}
		for _, port := range cfg.Peers {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", port)})
		}
		srv, err := server.NewServer(o)
		if err != nil {
			return err
		}
		srv.Start()
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, in) // until the test closes it, or is gone
	return err
}

// process is a child process.
type process struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func startProcess(t *testing.T, role string, cfg processConfig, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(append(os.Environ(), roleOfProcess+"="+role), env...)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.in, p.out = in, bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		p.kill(t)
		_ = p.cmd.Wait()
	})
	raw, err := json.Marshal(cfg)
	require.NoError(t, err)
	_, err = in.Write(append(raw, '\n'))
	require.NoError(t, err)
	require.Equal(t, "ready", p.line(t))
	return p
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// kill ends the process, also a frozen one, without a word; one that has ended already is left alone.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill: %v", err)
	}
}

func TestANodeProcessIsKilledAndReplaced(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	provision(t, srv)
	o := bus(srv, "o", rolebus.WithObserver())
	seen := watch(t, o.Scope)
	has := func(n int) func() bool { return func() bool { return o.Nodes("process").Len() == n } }
	p := startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p"})
	eventually(t, "the process", has(1))

	p.kill(t)
	eventually(t, "the killed process to go", has(0))
	p = startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p"})
	eventually(t, "its successor", has(1))
	life := o.Nodes("process").At(0).Incarnation()

	startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p"})
	require.Contains(t, p.line(t), "a newer process took this node's name")
	eventually(t, "the newer life", func() bool {
		nodes := o.Nodes("process")
		return nodes.Len() == 1 && nodes.At(0).Incarnation() > life
	})
	eventually(t, "the events", func() bool { return seen.count(rolebus.NodeJoined) == 3 })
	require.Equal(t, 2, seen.count(rolebus.NodeLeft), "killed, replaced: %v", seen.list())
}

// givenPorts are those that tests got. Each is given once: a server that is not up does not listen.
var givenPorts sync.Map

// freePorts returns ports that nobody listens on: below those that rolebustest gives to servers, and systems to outgoing
// connections, so that no other test takes one while its server is not up.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range 1000 {
		port := 5000 + rand.IntN(5000)
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			defer func() { require.NoError(t, l.Close()) }()
			if ports = append(ports, port); len(ports) == n {
				return ports
			}
		}
	}
	require.FailNow(t, "no free ports")
	return nil
}

// leaderKills is how often the leader is killed: more with the build tag long.
var leaderKills = 1

func TestClusterOfThreeSurvivesTheKillOfTheLeader(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 6)
	servers := map[string]*process{}
	var configs []processConfig
	var urls []string
	for i := range 3 {
		cfg := processConfig{
			Name: fmt.Sprint("server-", i), Dir: t.TempDir(), Port: ports[i], Routes: ports[3+i], Peers: ports[3:],
		}
		configs = append(configs, cfg)
		servers[cfg.Name] = startProcess(t, processServer, cfg)
		urls = append(urls, fmt.Sprint("nats://127.0.0.1:", cfg.Port))
	}
	all := strings.Join(urls, ",")
	nc, err := nats.Connect(all, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	require.NoError(t, err)
	defer nc.Close()
	js := jetStream(t, nc)
	// The three must know each other before the first bucket is made.
	eventually(t, "the cluster to take three replicas", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		info, err := js.AccountInfo(ctx)
		return err == nil && info != nil
	})
	var fleet []*rolebus.Bus
	for i := range 4 {
		opts := []rolebus.Option{
			rolebus.WithNode(fmt.Sprint("node-", i)), rolebus.WithRoles("x"), rolebus.WithTTL(ttl),
			rolebus.WithSyncInterval(time.Second), rolebus.WithReplicas(3),
		}
		if i == 3 {
			opts = append(opts[:1], rolebus.WithObserver(), rolebus.WithTTL(ttl), rolebus.WithSyncInterval(time.Second))
		}
		b, err := rolebus.Connect(t.Context(), all, opts...)
		require.NoError(t, err)
		defer func() { _ = b.Close() }()
		fleet = append(fleet, b)
	}
	var seen []*events
	for _, b := range fleet {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 3 })
		seen = append(seen, watch(t, b.Scope))
	}
	for round := range leaderKills {
		stream, err := js.Stream(t.Context(), "KV_rolebus")
		require.NoError(t, err)
		leader := stream.CachedInfo().Cluster.Leader
		from := time.Now()
		servers[leader].kill(t)
		require.Error(t, servers[leader].cmd.Wait(), "it was killed")
		role := rolebus.Role(fmt.Sprint("round-", round))
		require.NoError(t, fleet[round].AddRoles(t.Context(), role))
		t.Logf("a change was accepted %v after the leader was killed; the TTL is %v", time.Since(from), ttl)
		for _, b := range fleet {
			eventually(t, "the change everywhere", func() bool { return b.Nodes(role).Len() == 1 })
			eventually(t, "contact", func() bool { return b.Snapshot().Stale() == 0 })
		}
		for _, cfg := range configs {
			if cfg.Name == leader {
				servers[leader] = startProcess(t, processServer, cfg)
			}
		}
		again := time.Now()
		eventually(t, "the grace to be over", func() bool { return time.Since(again) > 2*ttl })
		for i, b := range fleet {
			require.Zero(t, seen[i].count(rolebus.NodeLeft), "%s: %v", b.Name(), seen[i].list())
			require.Len(t, b.Nodes("x").Slice(), 3)
			require.NoError(t, b.Err())
		}
	}
}
