package kubernetes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rolebus/rolebus/discovery"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// client speaks to the API server over connections of its own, so that all of them end with it.
type client struct {
	rest      *rest.RESTClient
	namespace string
	dialed    *dialed
	transport *http.Transport // nil if it is the user's own
}

var codecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{discoveryv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme)
}()

// connect makes a client of what the options say and the files of the service account hold by now. Nothing is sent yet.
func (o *options) connect(of *resource, timeout time.Duration) (*client, error) {
	config, tokenFile := o.config, ""
	if config == nil {
		var err error
		if config, err = o.inPod(); err != nil {
			return nil, err
		}
		tokenFile = filepath.Join(o.account, "token")
	} else {
		config = rest.CopyConfig(config)
		tokenFile = config.BearerTokenFile
		config.BearerTokenFile = ""
		if tokenFile != "" {
			config.BearerToken = "" // as client-go has it: the file has the newer one
		}
	}
	c := &client{}
	var err error
	if c.namespace, err = o.where(); err != nil {
		return nil, err
	}
	config.GroupVersion = &schema.GroupVersion{Group: of.group, Version: "v1"}
	config.APIPath = of.path
	config.NegotiatedSerializer = codecs.WithoutConversion()
	config.QPS, config.RateLimiter = -1, nil // the strategy has a pace of its own
	config.Timeout = 0                       // and deadlines of its own: this would end a watch, too
	if config.UserAgent == "" {
		config.UserAgent = "rolebus-discovery"
	}
	if config.WarningHandler == nil && config.WarningHandlerWithContext == nil {
		config.WarningHandler = rest.NoWarnings{} // by default they are written to standard error
	}
	through, err := c.roundTripper(config, tokenFile, timeout)
	if err == nil {
		c.rest, err = rest.RESTClientForConfigAndClient(config, &http.Client{Transport: through, CheckRedirect: stay})
	}
	if err != nil {
		return nil, &discovery.Failure{Source: "the configuration of the API server", Reason: discovery.ReasonOther, Err: err}
	}
	return c, nil
}

// stay follows no redirect: whoever wraps the transport to add a token would add it for a stranger, too.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (c *client) roundTripper(config *rest.Config, tokenFile string, timeout time.Duration) (http.RoundTripper, error) {
	wraps, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	through := config.Transport
	if through == nil {
		tls, err := transport.TLSConfigFor(wraps)
		if err != nil {
			return nil, err
		}
		dial := (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext
		if wraps.DialHolder != nil {
			dial = wraps.DialHolder.Dial
		}
		proxy := wraps.Proxy
		if proxy == nil {
			proxy = utilnet.NewProxierWithNoProxyCIDR(http.ProxyFromEnvironment)
		}
		c.dialed = &dialed{dial: dial, open: map[net.Conn]bool{}}
		c.transport = &http.Transport{
			DialContext: c.dialed.DialContext, Proxy: proxy, TLSClientConfig: tls, TLSHandshakeTimeout: timeout,
			ForceAttemptHTTP2: true, DisableCompression: wraps.DisableCompression,
			// A server that is frozen, or gone without a word, sends nothing on a watch, and neither does one where nothing changes.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * timeout, PingTimeout: timeout},
		}
		through = c.transport
	}
	if tokenFile != "" {
		through = &bearer{file: tokenFile, next: through}
	}
	return transport.HTTPWrappersForConfig(wraps, through)
}

// close ends all connections.
func (c *client) close() {
	if c.transport != nil {
		c.transport.CloseIdleConnections()
		c.dialed.close()
	}
}

// bearer sends the token of a file, which is read each time: it is replaced long before it ends, and a request is rare. So no token is
// sent that a newer one has taken the place of.
type bearer struct {
	file string
	next http.RoundTripper
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.Header.Get("Authorization") != "" {
		return b.next.RoundTrip(r)
	}
	token, err := readFile(b.file, "the service account's token")
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.next.RoundTrip(r)
}

// readFile reads a file of a service account.
func readFile(name, what string) (string, error) {
	data, err := os.ReadFile(name)
	text := strings.TrimSpace(string(data))
	f := &discovery.Failure{Source: what, Reason: discovery.ReasonOther, Err: err, Mend: "give the pod a service account and do not set " +
		"automountServiceAccountToken to false; or give kubernetes.ServiceAccount the right directory, or kubernetes.Config outside of a pod"}
	switch {
	case err == nil && text != "" && !strings.ContainsAny(text, "\r\n"):
		return text, nil
	case err == nil && text == "":
		f.Reason, f.Err = discovery.ReasonEmpty, fmt.Errorf("%s is empty", name)
	case err == nil:
		f.Reason, f.Err = discovery.ReasonMalformed, fmt.Errorf("%s has more than one line", name)
	case errors.Is(err, fs.ErrNotExist):
		f.Reason = discovery.ReasonNotFound
	case errors.Is(err, fs.ErrPermission):
		f.Reason, f.Mend = discovery.ReasonForbidden, "let the process read it: fsGroup of the pod's securityContext"
	}
	return "", f
}

// inPod is the configuration of a pod: the certificate authority of its service account, and where the API server is.
func (o *options) inPod() (*rest.Config, error) {
	host := o.master
	if host == "" {
		host = "kubernetes.default.svc"
		if env := os.Getenv("KUBERNETES_SERVICE_HOST"); env != "" {
			port := os.Getenv("KUBERNETES_SERVICE_PORT")
			if port == "" {
				port = "443"
			}
			host = net.JoinHostPort(env, port)
		}
	}
	ca := filepath.Join(o.account, "ca.crt")
	data, err := os.ReadFile(ca)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = fmt.Errorf("%s: it has no certificate", ca)
	}
	if err != nil {
		reason := discovery.ReasonMalformed
		if errors.Is(err, fs.ErrNotExist) {
			reason = discovery.ReasonNotFound
		} else if errors.Is(err, fs.ErrPermission) {
			reason = discovery.ReasonForbidden
		}
		return nil, &discovery.Failure{Source: "the API server's certificate authority", Reason: reason, Err: err,
			Mend: "without it nobody can tell whether it is the API server, so no token is sent: run in a pod that has a service account (" +
				"automountServiceAccountToken is not false), or give kubernetes.ServiceAccount its directory, or kubernetes.Config outside of a pod"}
	}
	// The data, not the file's name: client-go asks a file for news by timers of its own. It is read again with the next client.
	return &rest.Config{Host: httpsURL(host), TLSClientConfig: rest.TLSClientConfig{CAData: data}}, nil
}

// where is the namespace to look in.
func (o *options) where() (string, error) {
	if o.namespace != "" {
		return o.namespace, nil
	}
	namespace, err := readFile(filepath.Join(o.account, "namespace"), "the namespace")
	var f *discovery.Failure
	if errors.As(err, &f) {
		f.Mend = "give kubernetes.Namespace; only in a pod it is known"
	}
	return namespace, err
}

// careful refuses what would show credentials to strangers.
func careful(c *rest.Config) error {
	secret := c.BearerToken != "" || c.BearerTokenFile != "" || c.Username != "" || c.Password != "" || c.ExecProvider != nil || c.AuthProvider != nil
	base, _, err := rest.DefaultServerUrlFor(withVersion(c))
	switch {
	case err != nil && strings.Contains(c.Host, "@"): // neither it nor what is wrong with it is shown
		return errors.New("Config: Host: it is no URL, and has a user: give what it needs by Username and Password")
	case err != nil:
		return fmt.Errorf("Config: Host %q: %w", c.Host, withoutUser(err))
	case secret && base.Scheme != "https":
		return fmt.Errorf("Config: Host is not an https URL: credentials would be sent for everybody to read")
	case secret && c.Insecure:
		return errors.New("Config: Insecure: credentials would be sent to whoever answers: set CAFile or CAData")
	}
	return nil
}

func withVersion(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.GroupVersion = &schema.GroupVersion{Version: "v1"}
	return c
}

// withoutUser is an error without the URL that it is about, which may hold a password.
func withoutUser(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// dialed knows which connections are open.
type dialed struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

// DialContext dials. After close it does not, as a transport dials also for those who have gone meanwhile.
func (d *dialed) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	d.open[conn] = true
	return &dialedConn{conn, d}, nil
}

func (d *dialed) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for conn := range d.open {
		conn.Close()
	}
	clear(d.open)
}

type dialedConn struct {
	net.Conn
	of *dialed
}

func (c *dialedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
