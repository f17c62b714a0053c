package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
)

// ClusterServer is this process's part in a cluster of NATS servers that processes form by themselves: see [Cluster]. Its methods may be called
// from several goroutines at once.
//
// It is a [rolebus.Strategy], too: what it finds are the members' servers, as they come and go.
type ClusterServer struct {
	cfg    *config
	log    *slog.Logger
	hooks  *clusterHooks
	cancel context.CancelFunc
	ended  chan struct{} // closed when all has ended

	commands chan func(*loop) // what a user asks of it
	closing  sync.Mutex       // held by who closes
	closed   bool             // guarded by closing
	err      error            // the loop's until it has ended, then guarded by closing: what Close returns
	left     error            // guarded by closing: why it did not leave, when it was to

	mu      sync.Mutex
	state   *ClusterState
	changed chan struct{} // closed when state is another
}

// announcer is a strategy that can make this process known.
type announcer interface {
	Announce(ctx context.Context, addresses []rolebus.Address) error
}

// ErrClosed says that Close or Leave was called.
var ErrClosed = errors.New("the cluster's part in this process is closed")

// Cluster makes this process one of those that are a NATS cluster with JetStream: they find each other by strategy, the first of them, as many
// as [WithSize] says, found the cluster and run its servers, and the others are spares, clients that take the place of a server whose
// process dies. So there is no NATS to install, to find or to replace.
//
// Discovery must show the processes' cluster ports, see [WithClusterPort]: a strategy that can announce, as [discovery.Gossip] and
// [discovery.Local] can, is told of this process. Whatever discovery cannot learn takes nothing away, and it need not show all to all: processes tell
// each other. Two clusters are made only where it shows two groups, each large enough, that know nothing of each other; they never mix.
//
// A stream should have replicas, best as many as there are members. One of a single replica is on one member, and lost with it: when that one's
// store is lost, but also when a spare has taken its place because it was gone for longer than [WithGrace].
//
// With [WithStoreDir] a process keeps its name, its place and what its server stores, and returns to it after [ClusterServer.Close], or a
// crash. Without, or when the directory was lost, it comes back as a blank one, and what it stored is copied anew.
//
// Cluster returns when this process listens; ctx ends nothing that follows. [ClusterServer.Ready] waits until clients can connect.
// It returns an error, and leaves nothing running, if an option is invalid (all that are, at once), if [WithSize] is missing, if others than this
// machine could reach the process and neither a secret nor TLS is given, if a port is taken, or if the store directory cannot be written, is
// used by another process, belongs to a server that was alone, or to a cluster of another size or fleet.
//
// What is found out later, a name that two have, another cluster, a member too many, is told by [ClusterServer.State], hooks and the log, with
// what to do about it, and disturbs nobody.
func Cluster(ctx context.Context, strategy rolebus.Strategy, opts ...Option) (*ClusterServer, error) {
	c, err := startCluster(ctx, strategy, opts)
	if err != nil {
		return nil, fmt.Errorf("embedded cluster: %w", err)
	}
	return c, nil
}

func startCluster(ctx context.Context, strategy rolebus.Strategy, opts []Option) (_ *ClusterServer, err error) {
	cfg, err := newConfig(opts)
	if strategy == nil {
		err = errors.Join(err, errors.New("strategy: must not be nil"))
	}
	announces, _ := strategy.(announcer)
	if err = errors.Join(err, cfg.finish(announces != nil)); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); ctx.Err() != nil {
		return nil, err
	}
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	st, err := openStore(cfg.storeDir)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() { err = errors.Join(err, st.close()) })
	if err := removeEmptied(st.dir); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	id, err := readIdentity(st.dir, cfg)
	if err != nil {
		return nil, err
	}
	cfg.name = id.name
	log := cfg.log.With("process", id.name)
	hooks, err := newClusterHooks(cfg.cluster.hooks, log)
	if err != nil {
		return nil, err
	}
	sec, err := newSecurity(cfg, log)
	if err != nil {
		return nil, err
	}
	listener, ports, err := listen(cfg, id.ports)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() { listener.Close() })
	id.ports = ports
	if err := writeIdentity(st.dir, cfg.cluster.fleet, cfg.cluster.size, id); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	// Options of users are tried out here, and not when the first server is needed.
	if err = tryOptions(cfg, place{cluster: "cluster", server: id.name, dir: st.dir, clientPort: ports.Client, routePort: ports.Route}, sec.routes("cluster")); err != nil {
		return nil, err
	}
	var own rolebus.Address
	if announces != nil {
		if own, err = ownAddress(cfg, ports.Hello, id.name); err != nil {
			return nil, err
		}
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &ClusterServer{
		cfg: cfg, log: log, hooks: hooks, cancel: cancel, ended: make(chan struct{}),
		commands: make(chan func(*loop)), changed: make(chan struct{}),
	}
	l := newLoop(c, running, st, id, sec, listener)
	c.publish(l.brain.state(time.Now(), status{}, l.self()))
	go func() {
		defer close(c.ended)
		l.run(strategy, announces, own)
	}()
	return c, nil
}

// URL is where clients connect: the URLs of all members that are known, this process's own first, with commas between them. They change as
// members come and go: nats.go learns of that from the servers, and [rolebus.WithDiscovery] from this ClusterServer. It is "" as long as no
// member is known: see [ClusterServer.Ready].
func (c *ClusterServer) URL() string {
	s, _ := c.look()
	return strings.Join(s.urls(), ",")
}

// State is what this process knows of the cluster now. It may be called at any time, also after Close.
func (c *ClusterServer) State() ClusterState {
	s, _ := c.look()
	return *s
}

// Ready waits until clients can connect, JetStream answers, and, if this process is a member, its server is up to date, and connected to those
// of all other live members. One that was may be behind, or cut off from one of them, for up to 3 seconds: as it is with each stream that is
// made, and each member that restarts. The error says what it waited for when ctx ended, and matches the cause of that; after Close or Leave
// it is [ErrClosed].
func (c *ClusterServer) Ready(ctx context.Context) error {
	for {
		s, changed := c.look()
		switch {
		case s.Part == Closed:
			return fmt.Errorf("embedded cluster: %w", ErrClosed)
		case s.Ready && len(s.urls()) > 0:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("embedded cluster: not ready: %s: %w", cmp.Or(s.Waiting, "the server to be up to date"), context.Cause(ctx))
		}
	}
}

// Connect waits until the cluster is [ClusterServer.Ready], and connects a bus to it that follows its members. It takes what [rolebus.Connect]
// takes: credentials, if clients need them, by [rolebus.WithNATS]. Close the bus before this.
//
// The bus of a member connects to another member's server, if one is there, and not to this process's own: which would die with the process, and
// then nobody could tell at once that it did.
func (c *ClusterServer) Connect(ctx context.Context, opts ...rolebus.Option) (*rolebus.Bus, error) {
	if err := c.Ready(ctx); err != nil {
		return nil, err
	}
	return rolebus.Connect(ctx, c.elsewhere(ctx), append([]rolebus.Option{rolebus.WithDiscovery(elsewhere{c})}, opts...)...)
}

// elsewhere are the URLs of the other members, or of all if none is there after a while.
func (c *ClusterServer) elsewhere(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, elsewherePatience)
	defer cancel()
	for {
		s, changed := c.look()
		if others := s.others(); len(others) > 0 {
			return strings.Join(others, ",")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return c.URL()
		}
	}
}

// elsewherePatience is how long others may take to be members, too: it matters only when the cluster has just been founded.
const elsewherePatience = 2 * time.Second

// elsewhere finds the members' servers, with this process's own after all others.
type elsewhere struct{ c *ClusterServer }

func (e elsewhere) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	return e.c.discover(ctx, 1, found)
}

// Discover finds the members' servers, for [rolebus.WithDiscovery]: now, and again when they are others.
func (c *ClusterServer) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	return c.discover(ctx, 0, found)
}

func (c *ClusterServer) discover(ctx context.Context, own uint16, found func([]rolebus.Address, error)) error {
	told := ""
	for {
		s, changed := c.look()
		if s.Part == Closed {
			return nil // what was told stays
		}
		urls := s.urls()
		if text := strings.Join(urls, ","); text != told && text != "" {
			told = text
			var list []rolebus.Address
			for _, u := range urls {
				if a, err := rolebus.ParseAddress(u); err == nil {
					if u == s.own() {
						a.Priority = own
					}
					list = append(list, a)
				}
			}
			found(list, nil)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// Close stops this process's part, so that it comes back: a member lets others lead first, so that nobody waits for an election, stops its server,
// and keeps its store, if that is kept at all. It stays a member, and is replaced if it is not back within [WithGrace].
//
// Close may be called more than once, and at once: every call returns when all has ended, with the same error, which says what could not be stopped
// or written. A strategy that does not end with its context is waited for no longer than a second; a [Transport] that does not is waited for until
// it returns.
func (c *ClusterServer) Close() error { return c.end(context.Background(), false) }

// Leave stops this process's part for good: a member waits until a spare has its place, for at most 15 seconds, and until it is its turn, hands on what
// it stores and leads, is removed from the cluster, and empties its store. A stream that it alone stores, as one of a single replica, is waited for
// until another has it; and it does not go while so many of the others are dead that without it no majority would be left. The last one of all
// takes everything with it, also where all leave at once, when none waits for another to copy: in less than a minute. If ctx ends before, or
// the cluster has no leader, it is as after [ClusterServer.Close]: still a member, that others replace if it does not come back, and the error
// says so, also to who calls Leave again. After Close it does nothing.
func (c *ClusterServer) Leave(ctx context.Context) error { return c.end(ctx, true) }

func (c *ClusterServer) end(ctx context.Context, leave bool) error {
	var left error
	if leave {
		left = c.leave(ctx)
	}
	c.closing.Lock()
	defer c.closing.Unlock()
	if !c.closed {
		c.closed, c.left = true, left
		c.cancel()
		<-c.ended
		c.err = errors.Join(c.err, c.hooks.close())
		s := c.State()
		c.publish(&ClusterState{Name: s.Name, Part: Closed, Cluster: s.Cluster, Size: s.Size})
	}
	if leave {
		return errors.Join(c.left, c.err)
	}
	return c.err
}

// leave waits until the loop has left the cluster.
func (c *ClusterServer) leave(ctx context.Context) error {
	gone := make(chan error, 1)
	select {
	case c.commands <- func(l *loop) { l.leave(gone) }:
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("embedded cluster: leave: %w", context.Cause(ctx))
	}
	select {
	case err := <-gone:
		return err
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("embedded cluster: leave: still a member, as after Close, waiting for %s: %w", c.State().Waiting, context.Cause(ctx))
	}
}

func (c *ClusterServer) look() (*ClusterState, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.changed
}

// publish swaps the state, then wakes.
func (c *ClusterServer) publish(s *ClusterState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.state
	c.state = s
	if !s.same(was) {
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// ownAddress is what is announced of this process.
func ownAddress(cfg *config, port int, name string) (rolebus.Address, error) {
	host := cfg.cluster.advertise
	if host == "" {
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			return rolebus.Address{}, fmt.Errorf("%w: give WithAdvertise, the host at which others reach this process", err)
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && (host == "" || ip.IP.To4() != nil) {
				host = ip.IP.String()
				if ip.IP.To4() != nil {
					break
				}
			}
		}
	}
	if host == "" {
		return rolebus.Address{}, errors.New("this machine has no address by which others reach it: give WithAdvertise, or WithHost(\"127.0.0.1\") for processes of this machine alone")
	}
	return rolebus.Address{Host: host, Port: port, Route: true, Server: name}, nil
}

// validHost says whether others can be told to connect to a host.
func validHost(host string) bool { return rolebus.Address{Host: host}.Check() == nil }

func hostName() string {
	name, err := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	if err != nil || checkName(name) != nil || len(name) > 60 {
		return "node"
	}
	return name
}

func randomText() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// spread is a part of d, always the same of one process: so that not all give up at once.
func spread(instance string, d time.Duration) time.Duration {
	sum := 0
	for _, r := range instance {
		sum = sum*31 + int(r)
	}
	return d * time.Duration(uint(sum)%16) / 16
}
