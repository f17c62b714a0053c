//go:build kubetest

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/rolebus/rolebus/internal/replaced"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// NATS servers are replaced one after another, and a fleet follows by EndpointSlices of a real API server: nobody is reported lost, and no
// call of a user fails. So it is, too, while the API server is frozen, dead, or refuses. Not beside other tests: a machine that is busy
// for longer than a lease is what the fleet takes for a death.
func TestServersAreReplaced(t *testing.T) {
	t.Run("all well", func(t *testing.T) {
		replaced.Run(t, replaced.Course{New: true}, func(t *testing.T, c *replaced.Cluster) replaced.Source {
			return byKubernetes(newWorld(t, theCluster(t)), nil)
		})
	})
	t.Run("Kubernetes fails meanwhile", func(t *testing.T) {
		k := ownCluster(t)
		replaced.Run(t, replaced.Course{Rounds: 2}, func(t *testing.T, c *replaced.Cluster) replaced.Source {
			w := newWorld(t, k)
			return byKubernetes(w, func(n int) (undo func()) {
				switch n % 3 {
				case 0:
					w.api.cmd.Process.Signal(syscall.SIGSTOP)
					return func() { w.api.cmd.Process.Signal(syscall.SIGCONT) }
				case 1:
					w.api.end(syscall.SIGKILL)
					return func() { require.NoError(t, w.startAPI()) }
				}
				// What may not be read any more, and seems to be gone for who may.
				w.do(t, "DELETE", w.at(rbac, "rolebindings", "bus"), nil)
				w.do(t, "DELETE", w.at(discoverys, "endpointslices")+"?labelSelector=test", nil)
				return func() { w.bind("bus") }
			})
		})
	})
}

func byKubernetes(w *world, meanwhile func(n int) func()) replaced.Source {
	token := w.account("bus", discoveryv1.GroupName, "endpointslices", "list", "watch")
	at := &places{real: map[string]string{}}
	return replaced.Source{
		Strategy: func() rolebus.Strategy {
			return kubernetes.Service("nats", w.with(token, kubernetes.Discovery(discovery.TLSName(replaced.Domain), discovery.Timeout(time.Second)))...)
		},
		Tell:      func(list []rolebus.Address) { w.tell(at, list) },
		Meanwhile: meanwhile,
		Known:     at.known,
		NATS:      []nats.Option{nats.SetCustomDialer(at)},
	}
}

// tell makes an EndpointSlice of each server, as each has another port, and takes away those of others.
func (w *world) tell(at *places, list []rolebus.Address) {
	w.t.Helper()
	stays := map[string]bool{}
	for _, a := range list {
		host, _, _ := net.SplitHostPort(at.known(a))
		s := &discoveryv1.EndpointSlice{
			TypeMeta:    metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
			ObjectMeta:  metav1.ObjectMeta{Name: "nats-" + strings.ReplaceAll(host, ".", "-"), Labels: map[string]string{discoveryv1.LabelServiceName: "nats", "test": ""}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: new("nats"), Port: new(int32(a.Port)), Protocol: new(corev1.ProtocolTCP)}},
			Endpoints:   endpoints(host),
		}
		stays[s.Name] = true
		text, err := json.Marshal(s)
		require.NoError(w.t, err)
		eventually(w.t, "the API server takes "+s.Name, func() bool {
			code, _, err := w.send(w.t.Context(), "PATCH", w.at(discoverys, "endpointslices", s.Name)+"?fieldManager=test&force=true", "application/apply-patch+yaml", text)
			return err == nil && code < 300
		})
	}
	var all discoveryv1.EndpointSliceList
	w.do(w.t, "GET", w.at(discoverys, "endpointslices"), &all)
	for _, s := range all.Items {
		if !stays[s.Name] {
			code, _, err := w.send(w.t.Context(), "DELETE", w.at(discoverys, "endpointslices", s.Name), "", nil)
			require.NoError(w.t, err)
			require.Contains(w.t, []int{http.StatusOK, http.StatusNotFound}, code)
		}
	}
}

// places dials for clients: the API server takes no addresses of the loopback device, where the servers are.
type places struct {
	mu   sync.Mutex
	real map[string]string
}

func (p *places) known(a rolebus.Address) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := "10" + strings.TrimPrefix(a.HostPort(), "127")
	p.real[known] = a.HostPort()
	return known
}

func (p *places) Dial(network, address string) (net.Conn, error) {
	p.mu.Lock()
	real, ok := p.real[address]
	p.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("nobody is at %s", address)
	}
	return net.DialTimeout(network, real, 2*time.Second)
}

// What the manifest of NATS servers has for them, a NATS server takes.
func TestTheConfigurationInTheManifestIsOne(t *testing.T) {
	t.Setenv("POD_NAME", "nats-0")
	for doc := range strings.SplitSeq(manifest(t, "nats.yaml"), "\n---\n") {
		var m corev1.ConfigMap
		require.NoError(t, yaml.Unmarshal([]byte(doc), &m))
		if m.Kind != "ConfigMap" {
			continue
		}
		file := filepath.Join(t.TempDir(), "nats.conf")
		require.NoError(t, os.WriteFile(file, []byte(m.Data["nats.conf"]), 0o600))
		o, err := server.ProcessConfigFile(file)
		require.NoError(t, err)
		require.Equal(t, []any{"nats-0", 4222, 8222, 6222, true}, []any{o.ServerName, server.DEFAULT_PORT, o.HTTPPort, o.Cluster.Port, o.JetStream})
		return
	}
	t.Fatal("it has no ConfigMap")
}
