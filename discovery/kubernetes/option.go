package kubernetes

import (
	"errors"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rolebus/rolebus/discovery"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
)

// Option is a choice about a strategy of this package. Those which all strategies have go in by [Discovery].
type Option func(*options)

type options struct {
	common    []discovery.Option
	namespace string
	service   string // whose name is in host names
	port      string // name or number
	hosts     Mode
	domain    string
	family    string
	notReady  bool
	cached    bool
	listsOnly bool
	config    *rest.Config // nil: that of the pod
	master    string
	account   string // directory of the service account

	errs []error
}

func collect(opts []Option) *options {
	o := &options{hosts: IP, account: "/var/run/secrets/kubernetes.io/serviceaccount", domain: domainOf(os.Getenv("CLUSTER_DOMAIN"))}
	if o.domain == "" {
		o.domain = "cluster.local"
	}
	for i, opt := range opts {
		if opt == nil {
			o.wrong("option %d is nil", i+1)
			continue
		}
		opt(o)
	}
	if o.config != nil && o.master != "" {
		o.errs = append(o.errs, errors.New("Config and Master: one of them says where the API server is"))
	}
	if problems := validation.IsDNS1123Subdomain(o.domain); len(problems) > 0 {
		o.wrong("cluster domain %q: %s", o.domain, problems[0])
	}
	return o
}

// Discovery gives the strategy options of package discovery: [discovery.Name], [discovery.WithHooks] and [discovery.WithLogger];
// [discovery.Interval], which is how often it lists where it cannot watch, [discovery.Timeout], which bounds each request, and
// [discovery.MaxBackoff]; [discovery.Port], which is for endpoints of which Kubernetes knows no port, [discovery.Scheme], [discovery.Routes],
// [discovery.Cluster] and [discovery.TLSName].
func Discovery(opts ...discovery.Option) Option {
	return func(o *options) { o.common = append(o.common, opts...) }
}

// Namespace says in which namespace to look. Default: that of the pod, from its service account.
func Namespace(name string) Option {
	return func(o *options) {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			o.wrong("Namespace %q: %s", name, problems[0])
		}
		o.namespace = name
	}
}

// ServiceName says which service's name stands in host names, where [Pods] and [Endpoints] do not know it: see [Hostname]. Default: the
// subdomain of the pod, the service of the EndpointSlice.
func ServiceName(name string) Option {
	return func(o *options) {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			o.wrong("ServiceName %q: %s", name, problems[0])
		}
		o.service = name
	}
}

// Port says which port of an endpoint, or of a pod's containers, is meant: its name, or a number, which then need not be known to Kubernetes.
// Where an endpoint does not have a port of the name it is left out, and that is told once.
//
// Default: if there is one TCP port, that; of several the one that is named nats or client, of [discovery.Routes] cluster or route, of the
// scheme ws or wss websocket or as the scheme, or has the usual number: 4222, 6222, 80 or 443. If there is none, [discovery.Port], or the
// usual one.
func Port(nameOrNumber string) Option {
	return func(o *options) {
		o.port = nameOrNumber
		if n, err := strconv.Atoi(nameOrNumber); err == nil {
			if n < 1 || n > 65535 {
				o.wrong("Port %s: 1 to 65535, or a name", nameOrNumber)
			}
		} else if problems := validation.IsDNS1123Label(nameOrNumber); len(problems) > 0 {
			o.wrong("Port %q: neither a number nor a name: %s", nameOrNumber, problems[0])
		}
	}
}

// Mode says what the hosts of addresses are.
type Mode string

// The modes.
const (
	// IP is the endpoint's IP address.
	IP Mode = "ip"
	// DNS is the pod's name in DNS, such as 10-1-0-7.fleet.pod.cluster.local.
	DNS Mode = "dns"
	// Hostname is the pod's name as one of a headless service, such as nats-0.nats.fleet.svc.cluster.local; pods of a StatefulSet have one.
	// A pod without a hostname of its own has its address there, as Kubernetes has it: 10-1-0-7.nats.fleet.svc.cluster.local.
	Hostname Mode = "hostname"
)

// Hosts says what the hosts of addresses are: [IP], [DNS] or [Hostname]. With TLS a certificate is for one of these. Default: IP, which works
// without DNS.
func Hosts(mode Mode) Option {
	return func(o *options) {
		if o.hosts = mode; !slices.Contains([]Mode{IP, DNS, Hostname}, mode) {
			o.wrong("Hosts %q: %s, %s or %s", string(mode), IP, DNS, Hostname)
		}
	}
}

// ClusterDomain says under which domain the cluster's names are. Default: the environment variable CLUSTER_DOMAIN, or "cluster.local".
func ClusterDomain(domain string) Option { return func(o *options) { o.domain = domainOf(domain) } }

func domainOf(text string) string { return strings.Trim(text, ".") }

// Family takes only addresses of one family, "IPv4" or "IPv6", as Kubernetes calls them. Default: all that an endpoint has; a pod of a cluster
// with both has two, and is listed twice.
func Family(family string) Option {
	return func(o *options) {
		if o.family = family; family != "IPv4" && family != "IPv6" {
			o.wrong("Family %q: IPv4 or IPv6", family)
		}
	}
}

// NotReady lists endpoints and pods also while they are not ready, as servers that form a cluster want it: they become ready only once they
// have found each other, so that whoever waits for that waits for ever (the reason for publishNotReadyAddresses, too). Clients want ready
// ones: a server that is not ready yet, or not any more, takes no connections. Who terminates or has ended is not listed for either.
func NotReady() Option { return func(o *options) { o.notReady = true } }

// Cached has lists answered from what the API server has in memory (resourceVersion=0), which may be older than what is stored: cheaper for a
// large cluster whose API server is older than Kubernetes 1.31. Default: lists are as new as can be.
func Cached() Option { return func(o *options) { o.cached = true } }

// ListsOnly has the strategy list at each [discovery.Interval] and never watch, as where RBAC grants list alone: the strategy does that by
// itself, but says what it lacks. Default: it watches.
func ListsOnly() Option { return func(o *options) { o.listsOnly = true } }

// Config says how to reach the API server from outside of a pod, or with another account: what package clientcmd of client-go makes of a
// kubeconfig, for example. [Namespace] is then needed outside of a pod. A token file in it is read anew for each request. A configuration that
// would send credentials over a connection which is not encrypted, or not verified, is refused.
func Config(config *rest.Config) Option {
	return func(o *options) {
		if config == nil {
			o.errs = append(o.errs, errors.New("Config: it is nil"))
			return
		}
		o.config = rest.CopyConfig(config)
		if err := careful(o.config); err != nil {
			o.errs = append(o.errs, err)
		}
	}
}

// Master says where the API server is, with the service account of the pod: a host, host:port, or an https URL. Default: the environment
// variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which every pod has, or kubernetes.default.svc.
func Master(host string) Option {
	return func(o *options) {
		u, err := url.Parse(httpsURL(host))
		switch {
		case strings.Contains(host, "@"): // it is not shown
			o.errs = append(o.errs, errors.New("Master: it has no user and no password: use Config"))
		case err != nil || u.Hostname() == "":
			o.wrong("Master %q: neither a host, nor host:port, nor an https URL", host)
		case u.Scheme != "https":
			o.wrong("Master %q: its scheme must be https: a token would be sent for everybody to read", host)
		case strings.HasSuffix(u.Host, ":"), u.Port() != "" && !isPort(u.Port()):
			o.wrong("Master %q: its port must be 1 to 65535", host)
		}
		o.master = host
	}
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

func httpsURL(host string) string {
	if strings.Contains(host, "://") {
		return host
	}
	return "https://" + host
}

// ServiceAccount says in which directory the files of the service account are: token, ca.crt and namespace. Default:
// /var/run/secrets/kubernetes.io/serviceaccount.
func ServiceAccount(directory string) Option {
	return func(o *options) {
		if o.account = directory; directory == "" {
			o.errs = append(o.errs, errors.New("ServiceAccount: the directory is empty"))
		}
	}
}
