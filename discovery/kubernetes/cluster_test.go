//go:build kubetest

package kubernetes_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// cluster is a real etcd, a real API server and the controllers of endpoint slices and service accounts, each a process that ends with this one.
type cluster struct {
	dir  string
	etcd string // URL
	port int
	key  *ecdsa.PrivateKey // which signs the tokens of service accounts

	store, api, controllers *process
	admin                   *http.Client
}

type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

const adminToken = "the-administrator"

// binary is what discovery/kubernetes/kubetest builds.
var binary = os.Getenv("KUBETEST")

// shared is the cluster of all tests that do not disturb it, each in a namespace of its own.
var shared = sync.OnceValues(func() (*cluster, error) {
	c, err := newCluster()
	running = err == nil
	return c, err
})

var running bool // the shared one; read after all tests

func TestMain(m *testing.M) {
	if info, err := os.Stat(binary); binary == "" || err != nil || info.Mode()&0o111 == 0 {
		fmt.Fprintf(os.Stderr, `These tests run against a real Kubernetes API server, and %q, the variable KUBETEST, is not its binary.
Build it, which takes 4 to 12 minutes the first time, and try again:

	discovery/kubernetes/kubetest/build.sh /tmp/kubetest && KUBETEST=/tmp/kubetest go test -tags kubetest ./...

or let .ci/run kubernetes do both.
`, binary)
		os.Exit(1)
	}
	code := m.Run()
	if running {
		c, _ := shared()
		if code != 0 {
			c.logs(os.Stderr)
		}
		c.stop()
	}
	os.Exit(code)
}

// theCluster returns the shared one.
func theCluster(t testing.TB) *cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ownCluster starts one for tests that stop, freeze or kill parts of it.
func ownCluster(t testing.TB, flags ...string) *cluster {
	t.Helper()
	c, err := newCluster(flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.logs(os.Stderr)
		}
		c.stop()
	})
	return c
}

func newCluster(flags ...string) (_ *cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			c.logs(os.Stderr)
			c.stop()
		}
	}()
	if c.dir, err = os.MkdirTemp("", "k8s"); err != nil { // short: the path of a Unix socket has at most 107 bytes
		return c, err
	}
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return c, err
	}
	der, err := x509.MarshalECPrivateKey(c.key)
	if err != nil {
		return c, err
	}
	for name, data := range map[string][]byte{
		"sa.key":     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		"tokens.csv": []byte(adminToken + ",admin,1,system:masters\n"),
	} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return c, err
		}
	}
	if c.port, err = freePort(); err != nil {
		return c, err
	}
	peer := "unix://" + c.path("peer.sock")
	c.etcd = "unix://" + c.path("client.sock")
	if c.store, err = c.run("etcd", "--data-dir="+c.path("data"), "--unsafe-no-fsync", "--log-level=warn", "--name=one",
		"--listen-client-urls="+c.etcd, "--advertise-client-urls="+c.etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=one="+peer); err != nil {
		return c, err
	}
	if err := c.startAPI(flags...); err != nil {
		return c, err
	}
	c.controllers, err = c.run("controllers", c.url(), c.path("certs", "apiserver.crt"), adminToken)
	return c, err
}

func (c *cluster) path(names ...string) string {
	return filepath.Join(append([]string{c.dir}, names...)...)
}
func (c *cluster) url() string { return fmt.Sprintf("https://127.0.0.1:%d", c.port) }

// startAPI starts the API server, also again after its end, and returns when it is ready.
func (c *cluster) startAPI(flags ...string) error {
	var err error
	c.api, err = c.run("kube-apiserver", append([]string{
		"--etcd-servers=" + c.etcd,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.port),
		"--cert-dir=" + c.path("certs"),
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--token-auth-file=" + c.path("tokens.csv"),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("sa.key"),
		"--service-account-signing-key-file=" + c.path("sa.key"),
		"--shutdown-watch-termination-grace-period=1s", // an open watch would keep it for a minute
	}, flags...)...)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-c.api.done:
			return errors.New("the API server ended")
		default:
		}
		ca, err := os.ReadFile(c.path("certs", "apiserver.crt"))
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(ca) {
			continue
		}
		if c.admin == nil {
			c.admin = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		}
		if code, _, err := c.send(context.Background(), "GET", "/readyz", "", nil); err == nil && code == http.StatusOK {
			return nil
		}
	}
	return errors.New("the API server is not ready")
}

func (c *cluster) run(name string, args ...string) (*process, error) {
	log, err := os.OpenFile(c.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, append([]string{name}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it is not to outlive this process, however that ends
	p, started := &process{cmd: cmd, done: make(chan struct{})}, make(chan error)
	go func() {
		runtime.LockOSThread() // whose end the kernel takes for ours
		defer close(p.done)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s of %s: %w", name, binary, err)
	}
	return p, nil
}

// end ends the process by a signal, or by SIGKILL if that does not.
func (p *process) end(signal syscall.Signal) {
	if p == nil {
		return
	}
	p.cmd.Process.Signal(signal)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

func (c *cluster) stop() {
	for _, p := range []*process{c.controllers, c.api, c.store} {
		p.end(syscall.SIGKILL)
	}
	os.RemoveAll(c.dir)
}

func (c *cluster) logs(to io.Writer) {
	for _, name := range []string{"etcd", "kube-apiserver", "controllers"} {
		data, _ := os.ReadFile(c.path(name + ".log"))
		fmt.Fprintf(to, "--- %s\n%s\n", name, data[max(0, len(data)-2000):])
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// send sends a request as the administrator.
func (c *cluster) send(ctx context.Context, method, path, content string, body []byte) (code int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	if content != "" {
		r.Header.Set("Content-Type", content)
	}
	resp, err := c.admin.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// do sends an object as the administrator; the answer is decoded into it again.
func (c *cluster) do(t testing.TB, method, path string, object any) {
	t.Helper()
	var body []byte
	if object != nil {
		var err error
		if body, err = json.Marshal(object); err != nil {
			t.Fatal(err)
		}
	}
	code, answer, err := c.send(context.Background(), method, path, "application/json", body)
	if err != nil || code >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, path, code, answer, err)
	}
	if object != nil && method != "DELETE" {
		if err := json.Unmarshal(answer, object); err != nil {
			t.Fatal(err)
		}
	}
}

// config is how a bearer of the token reaches the API server.
func (c *cluster) config(token string) *rest.Config {
	return &rest.Config{Host: c.url(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: c.path("certs", "apiserver.crt")}}
}

// sign makes a service account's token of any lifetime, as the API server itself gives none under ten minutes.
func (c *cluster) sign(t testing.TB, namespace, account, uid string, until time.Time) string {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(&c.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(public)
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := part(map[string]any{"alg": "ES256", "kid": base64.RawURLEncoding.EncodeToString(id[:])}) + "." + part(map[string]any{
		"aud": []string{"https://kubernetes.default.svc"}, "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:" + namespace + ":" + account,
		"iat": until.Add(-time.Hour).Unix(), "nbf": until.Add(-time.Hour).Unix(), "exp": until.Unix(), "jti": fmt.Sprint(time.Now().UnixNano()),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": account, "uid": uid}},
	})
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
