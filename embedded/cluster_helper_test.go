package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

const long = time.Minute // for conditions: what takes so long never comes

// process is one part in a cluster, as if it was a process of its own: with what its hooks and its log were told.
type process struct {
	*embedded.ClusterServer
	told *told
	log  *lockedBuffer
}

// told keeps what hooks hear.
type told struct {
	mu       sync.Mutex
	refused  []embedded.RefusedInfo
	left     []embedded.LeftInfo
	formed   []embedded.FormedInfo
	joined   []embedded.JoinedInfo
	replaced []embedded.ReplacedInfo
	leaders  []string
}

func keep[E any](h *told, list *[]E, e E) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*list = append(*list, e)
}

func (h *told) OnRefused(e embedded.RefusedInfo)   { keep(h, &h.refused, e) }
func (h *told) OnLeft(e embedded.LeftInfo)         { keep(h, &h.left, e) }
func (h *told) OnFormed(e embedded.FormedInfo)     { keep(h, &h.formed, e) }
func (h *told) OnJoined(e embedded.JoinedInfo)     { keep(h, &h.joined, e) }
func (h *told) OnLeader(e embedded.LeaderInfo)     { keep(h, &h.leaders, e.Leader) }
func (h *told) OnReplaced(e embedded.ReplacedInfo) { keep(h, &h.replaced, e) }

// of returns the events of a kind that were told until now.
func of[E any](h *told, list *[]E) []E {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(*list)
}

func (p *process) refusals() []embedded.RefusedInfo { return of(p.told, &p.told.refused) }

// refusalsWith are those with this text in their reason.
func (p *process) refusalsWith(text string) []embedded.RefusedInfo {
	return slices.DeleteFunc(p.refusals(), func(r embedded.RefusedInfo) bool { return !strings.Contains(r.Reason, text) })
}

// lines are those of the log with this text.
func (p *process) lines(text string) (list []string) {
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, text) {
			list = append(list, line)
		}
	}
	return list
}

// begin starts a process's part, which is closed at the end of the test, if it was not before.
func begin(t *testing.T, strategy rolebus.Strategy, opts ...embedded.Option) *process {
	t.Helper()
	p := &process{told: &told{}, log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(p.log, nil))
	c, err := embedded.Cluster(t.Context(), strategy, append([]embedded.Option{embedded.WithSize(3), embedded.WithLogger(log), embedded.WithHooks(p.told)}, opts...)...)
	require.NoError(t, err)
	p.ClusterServer = c
	t.Cleanup(func() {
		_ = c.Close()
		if t.Failed() {
			t.Logf("%s: %+v\n%s", c.State().Name, c.State(), p.log)
		}
	})
	return p
}

// town is where processes of a test find each other.
type town struct {
	dir string
	all []*process
}

func newTown(t *testing.T) *town {
	town := &town{dir: t.TempDir()}
	t.Cleanup(func() { closeAll(town.all...) }) // before each alone: at once it is faster
	return town
}

func (town *town) strategy() rolebus.Strategy {
	return discovery.Local(discovery.Directory(filepath.Join(town.dir, "local")), discovery.Interval(100*time.Millisecond))
}

// dir is where the process of this name has its store.
func (town *town) store(name string) string { return filepath.Join(town.dir, "store", name) }

// begin starts the process of this name, with a store directory that is kept.
func (town *town) begin(t *testing.T, name string, opts ...embedded.Option) *process {
	t.Helper()
	p := begin(t, town.strategy(), append([]embedded.Option{embedded.WithName(name), embedded.WithStoreDir(town.store(name))}, opts...)...)
	town.all = append(town.all, p)
	return p
}

// form starts n processes, p0 and so on, and waits until all are ready and what they are to be.
func (town *town) form(t *testing.T, n int, opts ...embedded.Option) []*process {
	t.Helper()
	var all []*process
	for i := range n {
		all = append(all, town.begin(t, "p"+strconv.Itoa(i), opts...))
	}
	for _, p := range all {
		ready(t, p)
	}
	for i, p := range all {
		await(t, p, "to be settled", func(s embedded.ClusterState) bool {
			return s.Leader != "" && s.Waiting == "" && (s.Part == embedded.Member) == (i < s.Size)
		})
	}
	return all
}

func ready(t *testing.T, p *process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	require.NoError(t, p.Ready(ctx), "%+v", p.State())
}

// closeAll closes processes at once, so that none waits for the others.
func closeAll(all ...*process) {
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { _ = p.Close() })
	}
	wg.Wait()
}

// await waits until a process's state is so.
func await(t *testing.T, p *process, what string, is func(embedded.ClusterState) bool) embedded.ClusterState {
	t.Helper()
	var s embedded.ClusterState
	until(t, func() bool {
		s = p.State()
		return is(s)
	}, func() string { return fmt.Sprintf("%s: %+v", what, p.State()) })
	return s
}

// until waits for a condition.
func until(t *testing.T, is func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(long); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what())
		}
	}
}

// member and spare are what a process may be waited for to be.
func isMember(s embedded.ClusterState) bool {
	return s.Part == embedded.Member && s.Ready && s.Waiting == ""
}
func isSpare(s embedded.ClusterState) bool { return s.Part == embedded.Spare && s.Ready }

// whole says whether so many members, all of them live, and nobody else, are what a process sees.
func whole(n int) func(embedded.ClusterState) bool {
	return func(s embedded.ClusterState) bool {
		dead := slices.ContainsFunc(s.Members, func(p embedded.Process) bool { return !p.Live })
		return len(s.Members) == n && !dead && s.Leader != "" && s.Ready
	}
}

// leaderOf returns the processes with the one that leads first.
func leaderFirst(all []*process) []*process {
	leader := all[0].State().Leader
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *process) int {
		first := func(p *process) int {
			if p.State().Name == leader {
				return 0
			}
			return 1
		}
		return first(a) - first(b)
	})
	return sorted
}

// canary writes to a bucket of three replicas as long as a test lasts, or until end, which says that every write was acknowledged, and that nothing is lost.
type canary struct {
	kv     jetstream.KeyValue
	stop   context.CancelFunc
	done   chan struct{}
	wrote  atomic.Int64
	failed error // goroutine's, until done
}

// put writes, and asks again: what one asks for may be lost while another leads. Twice the same is no harm.
func (c *canary) put(n int) error {
	var err error
	for end := time.Now().Add(long); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err = c.kv.PutString(ctx, "key-"+strconv.Itoa(n%10), strconv.Itoa(n))
		cancel()
		if err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond) // the pause of a loop that waits for a write, until its deadline
	}
	return err
}

// more waits until it has written so much more.
func (c *canary) more(t *testing.T, n int64) {
	t.Helper()
	from := c.wrote.Load()
	until(t, func() bool { return c.wrote.Load() >= from+n }, func() string { return "writes" })
}

// sing begins a canary.
func sing(t *testing.T, via *process, opts ...nats.Option) *canary {
	t.Helper()
	nc := connect(t, via.URL(), opts...)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	c := &canary{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	c.kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "canary", Replicas: 3})
	require.NoError(t, err)
	ctx, c.stop = context.WithCancel(t.Context())
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			n := int(c.wrote.Load())
			if c.failed = c.put(n); c.failed != nil {
				return
			}
			c.wrote.Add(1)
			time.Sleep(5 * time.Millisecond) // the load itself
		}
	}()
	t.Cleanup(func() {
		c.stop()
		<-c.done
	})
	return c
}

// end waits for a few more writes, and says that all is there.
func (c *canary) end(t *testing.T) {
	t.Helper()
	c.more(t, 3)
	c.stop()
	<-c.done
	wrote := int(c.wrote.Load())
	require.NoError(t, c.failed, "after %d writes", wrote)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	for i := max(0, wrote-10); i < wrote; i++ {
		entry, err := c.kv.Get(ctx, "key-"+strconv.Itoa(i%10))
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(i), string(entry.Value()))
	}
	_, err := c.kv.PutString(ctx, "last", "note")
	require.NoError(t, err)
}

// shown is a strategy that finds what a test says.
type shown struct {
	mu      sync.Mutex
	list    []rolebus.Address
	err     error
	changed chan struct{}
}

func show(list ...rolebus.Address) *shown { return &shown{list: list, changed: make(chan struct{})} }

func (s *shown) set(err error, list ...rolebus.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list, s.err = list, err
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shown) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	for {
		s.mu.Lock()
		list, err, changed := slices.Clone(s.list), s.err, s.changed
		s.mu.Unlock()
		found(list, err)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// freePorts returns ports of the loopback address that nobody has just now, and that no other test is given: not of those that systems give to
// connections, or that servers choose.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	const from, to = 7300, 10200
	var ports []int
	for len(ports) < n {
		port := from + int(nextPort.Add(1))%(to-from)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			require.NoError(t, l.Close())
			ports = append(ports, port)
		}
	}
	return ports
}

var nextPort atomic.Int64

func init() { nextPort.Store(int64(os.Getpid() * 131 % 2900)) } // so that two runs on one machine do not begin alike

// at is a process's cluster port, as discovery shows it.
func at(host string, port int) rolebus.Address {
	return rolebus.Address{Host: host, Port: port, Route: true}
}

// both is two strategies as one: what the first finds and announces, and what the second finds.
type both struct {
	announcing
	other rolebus.Strategy
}

type announcing interface {
	rolebus.Strategy
	Announce(ctx context.Context, addresses []rolebus.Address) error
}

func show2(one, other rolebus.Strategy) rolebus.Strategy { return both{one.(announcing), other} }

func (b both) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	var mu sync.Mutex
	var lists [2][]rolebus.Address
	var wg sync.WaitGroup
	for i, s := range []rolebus.Strategy{b.announcing, b.other} {
		wg.Go(func() {
			_ = s.Discover(ctx, func(list []rolebus.Address, err error) {
				mu.Lock()
				defer mu.Unlock()
				lists[i] = list
				found(slices.Concat(lists[0], lists[1]), err)
			})
		})
	}
	wg.Wait()
	return nil
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}
