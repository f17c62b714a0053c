package discovery_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/rolebus/rolebus/internal/replaced"
	"github.com/rolebus/rolebus/rolebustest"
)

// failures counts them.
type failures struct{ atomic.Int64 }

func (f *failures) OnFailed(discovery.FailedInfo) { f.Add(1) }

// more waits until every bus's strategy has failed since.
func (f *failures) more(t *testing.T, since int64) {
	t.Helper()
	eventually(t, "discovery to fail", func() bool { return f.Load() >= since+10 })
}

// byFailingDNS has the DNS server go wrong in one of these ways whenever a server is replaced.
func byFailingDNS(hows ...dnstest.How) func(t *testing.T, c *replaced.Cluster) replaced.Source {
	return func(t *testing.T, c *replaced.Cluster) replaced.Source {
		d, failed := dnstest.New(t), &failures{}
		src := dnsSource(c, d, discovery.WithHooks(failed), discovery.Timeout(300*time.Millisecond))
		src.Meanwhile = func(n int) (undo func()) {
			before := failed.Load()
			if n < len(hows) {
				d.Fail("", hows[n])
			} else {
				d.Stop()
			}
			return func() {
				failed.more(t, before)
				d.Fail("", dnstest.OK)
				d.Start()
			}
		}
		return src
	}
}

// byFailingFile has the file be something else whenever a server is replaced.
func byFailingFile(t *testing.T, c *replaced.Cluster) replaced.Source {
	failed := &failures{}
	src, file := fileSource(t, discovery.WithHooks(failed))
	wrong := []func(){
		func() { require.NoError(t, os.Remove(file)) },
		func() { require.NoError(t, os.Truncate(file, 0)) },
		func() { write(t, file, "this is no address\nnor is this: one\n") },
		func() {
			require.NoError(t, os.Remove(file))
			require.NoError(t, os.MkdirAll(filepath.Join(file, "within"), 0o700))
		},
		func() {
			require.NoError(t, os.Remove(file))
			require.NoError(t, os.Symlink(file, file))
		},
	}
	src.Meanwhile = func(n int) (undo func()) {
		before := failed.Load()
		wrong[n%len(wrong)]()
		return func() {
			failed.more(t, before)
			require.NoError(t, os.RemoveAll(file))
		}
	}
	return src
}

// Servers are replaced while nobody can learn where the new ones are.
func TestServersAreReplacedWhileDiscoveryFails(t *testing.T) {
	t.Parallel()
	t.Run("DNS", func(t *testing.T) {
		t.Parallel()
		replaced.Run(t, replaced.Course{Shape: replaced.Shape{OnePort: true}}, byFailingDNS(dnstest.NXDomain, dnstest.Silent))
	})
	t.Run("File", func(t *testing.T) {
		t.Parallel()
		replaced.Run(t, replaced.Course{}, byFailingFile)
	})
}

// A bus is put through all that strategies may do wrong.
func TestABusGetsByWithStrategiesThatMisbehave(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	own := addressOf(t, srv).HostPort()
	discoverytest.RunConsumer(t, discoverytest.Consumer{Use: func(tb testing.TB, s rolebus.Strategy) (func() []rolebus.Address, func()) {
		b, err := rolebus.Connect(tb.Context(), srv.URL(), rolebus.WithDiscovery(s))
		if err != nil {
			tb.Fatal(err)
		}
		list := func() []rolebus.Address {
			var all []rolebus.Address
			for _, at := range slices.DeleteFunc(replaced.Pool(b), func(at string) bool { return at == own }) {
				a, err := rolebus.ParseAddress(at)
				if err != nil {
					tb.Error(err)
				}
				all = append(all, a)
			}
			return all
		}
		return list, func() {
			if n := b.Conn().Stats().Reconnects; n > 0 {
				tb.Errorf("the connection was lost %d times", n)
			}
			if err := b.Close(); err != nil {
				tb.Error(err)
			}
		}
	}})
}
