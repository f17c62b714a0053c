package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/internal/certs"
)

const (
	mostSize = 5

	usualPort     = 6222 // of hellos, where others cannot be told another one
	usualSettle   = time.Second
	usualGrace    = 15 * time.Second
	usualPatience = 5 * time.Minute
	leastSecret   = 16
)

// clusterConfig is what [Cluster] was told beyond what [Start] may be told.
type clusterConfig struct {
	given []string // options that are for Cluster only

	settings
	advertise  string
	helloPort  int
	routePort  int
	secrets    []string
	secretFile string
	routeTLS   certs.Files
	clientTLS  certs.Files
	transport  Transport
	hooks      []Hook
}

// clusterOption makes an option that Start refuses.
func clusterOption(name string, f func(c *clusterConfig) error) Option {
	return func(c *config) error {
		c.cluster.given = append(c.cluster.given, name)
		return f(&c.cluster)
	}
}

// WithSize says how many members a cluster has, 3 or 5: with 3 any one of them may fail, with 5 any two. All processes are given the same. It
// must be given, and cannot be changed later. For [Cluster].
//
// Two and even sizes are refused: JetStream needs more than half of all to work, so of two no one may fail, and four can spare
// one, as three can. One is [Start]'s.
func WithSize(size int) Option {
	return clusterOption("WithSize", func(c *clusterConfig) error {
		c.size = size
		return check(size == 3 || size == 5, "size %d: must be 3 or 5 (of an even number, no more may fail than of one less; a server alone is Start's)", size)
	})
}

// WithFleet names the cluster, for logs and other tools; processes of another name are strangers, also if they have the same secret. It is of
// letters, digits, "-" and "_". The default is "rolebus". For [Cluster].
func WithFleet(name string) Option {
	return clusterOption("WithFleet", func(c *clusterConfig) error {
		c.fleet = name
		return check(checkName(name) == nil && !strings.ContainsAny(name, ".~") && len(name) <= 64, "fleet %q: must be of letters, digits, - and _, and no longer than 64", clip(name))
	})
}

// WithSecret has the processes know each other by a secret of at least 16 bytes, the same for all: who does not know it learns nothing, joins
// nothing and changes nothing. It is needed where others than this machine can reach the process, unless [WithClusterTLS] is given. Others
// that are accepted, too, are for its rotation, one process after another: first all accept the new one, then all have the new one as
// theirs and accept the old one, then the old one goes. [WithSecretFile] does that without a restart. For [Cluster].
func WithSecret(secret string, accepted ...string) Option {
	return clusterOption("WithSecret", func(c *clusterConfig) error {
		c.secrets = append([]string{secret}, accepted...)
		short := slices.ContainsFunc(c.secrets, func(s string) bool { return len(s) < leastSecret })
		return check(!short, "secret: must have at least %d bytes", leastSecret)
	})
}

// WithSecretFile is [WithSecret] with the secrets in a file, one in a line, the process's own first; empty lines and those that begin with #
// do not count. It is read again when it changes: so secrets are rotated in three steps, each when all processes have taken up the one before,
// which the log says. What cannot be read changes nothing. For [Cluster].
func WithSecretFile(path string) Option {
	return clusterOption("WithSecretFile", func(c *clusterConfig) error {
		c.secretFile = path
		return check(path != "", "secret file: must not be empty")
	})
}

// WithClusterPort is the port at which processes of the cluster meet: what discovery must show. The default is any free one if the
// strategy can announce it, as [discovery.Gossip] and [discovery.Local] can, and otherwise 6222. For [Cluster].
func WithClusterPort(port int) Option {
	return clusterOption("WithClusterPort", func(c *clusterConfig) error {
		c.helloPort = port
		return check(port >= 1 && port <= 65535, "cluster port %d: must be from 1 to 65535", port)
	})
}

// WithRoutePort is the port at which servers of the cluster talk to each other. The default is any free one: processes tell each other.
// For [Cluster].
func WithRoutePort(port int) Option {
	return clusterOption("WithRoutePort", func(c *clusterConfig) error {
		c.routePort = port
		return check(port >= 1 && port <= 65535, "route port %d: must be from 1 to 65535", port)
	})
}

// WithAdvertise is the host, a name or an IP address, at which others reach this process. The default is the one of [WithHost], and if that is
// every address of the machine, the one by which they have found it. A name must lead to this process alone, not to one of several. For [Cluster].
func WithAdvertise(host string) Option {
	return clusterOption("WithAdvertise", func(c *clusterConfig) error {
		c.advertise = host
		return check(validHost(host), "advertise %q: must be a name or an IP address", clip(host))
	})
}

// WithGrace is how long a member must be gone before a spare takes its place: longer than a restart usually takes, as what is replaced copies
// all that the dead one stored. The default is 15 seconds; at least 2. For [Cluster].
func WithGrace(grace time.Duration) Option {
	return clusterOption("WithGrace", func(c *clusterConfig) error {
		c.grace = grace
		return check(grace >= 2*time.Second, "grace %v: must be at least 2s", grace)
	})
}

// WithPatience is how long a process that knows of a cluster, none of whose members it hears, waits for one before it gives that cluster up,
// and takes part in founding another: for members that have lost their stores will not come back as what they were. The default is 5 minutes; at
// least 10 seconds. Longer than it takes until machines are back after a loss of power is safe. For [Cluster].
func WithPatience(patience time.Duration) Option {
	return clusterOption("WithPatience", func(c *clusterConfig) error {
		c.patience = patience
		return check(patience >= 10*time.Second, "patience %v: must be at least 10s", patience)
	})
}

// WithClusterTLS has the processes, and their servers, talk to each other by TLS: each shows the certificate of the first file, with the key of
// the second, and takes only those that were signed by one in the third. They are read again when they change. For [Cluster].
func WithClusterTLS(certFile, keyFile, caFile string) Option {
	return clusterOption("WithClusterTLS", func(c *clusterConfig) error {
		c.routeTLS = certs.Files{Cert: certFile, Key: keyFile, CA: caFile}
		return check(certFile != "" && keyFile != "" && caFile != "", "cluster TLS: certificate, key and CA must be given")
	})
}

// WithTLS has clients connect by TLS, to the certificate of the first file with the key of the second. If the third is not "", clients must show
// a certificate that was signed by one in it. They are read again when they change. For [Cluster].
func WithTLS(certFile, keyFile, caFile string) Option {
	return clusterOption("WithTLS", func(c *clusterConfig) error {
		c.clientTLS = certs.Files{Cert: certFile, Key: keyFile, CA: caFile}
		return check(certFile != "" && keyFile != "", "TLS: certificate and key must be given")
	})
}

// WithHooks has hooks told what becomes of the cluster: see [Hook]. Given more than once, all are told. For [Cluster].
func WithHooks(hooks ...Hook) Option {
	return clusterOption("WithHooks", func(c *clusterConfig) error {
		c.hooks = append(c.hooks, hooks...)
		return nil
	})
}

// finish fills in what was not given, and says what does not go together.
func (c *config) finish(announces bool) error {
	cl := &c.cluster
	cl.fleet = cmp.Or(cl.fleet, "rolebus")
	cl.settle = cmp.Or(cl.settle, usualSettle)
	cl.grace = cmp.Or(cl.grace, usualGrace)
	cl.patience = cmp.Or(cl.patience, usualPatience)
	if cl.helloPort == 0 && !announces {
		cl.helloPort = usualPort
	}
	if cl.advertise == "" && !unspecified(c.host) {
		cl.advertise = c.host
	}
	ports := map[int]string{}
	var errs []error
	for _, p := range []struct {
		port int
		what string
	}{{c.port, "WithPort"}, {cl.helloPort, "WithClusterPort"}, {cl.routePort, "WithRoutePort"}} {
		if p.port != 0 && ports[p.port] != "" {
			errs = append(errs, fmt.Errorf("port %d: it is that of %s and of %s", p.port, ports[p.port], p.what))
		}
		ports[p.port] = p.what
	}
	missing := !slices.Contains(cl.given, "WithSize")
	return errors.Join(append(errs,
		check(!missing, "size: must be given, WithSize(3) or WithSize(5), the same for all processes"),
		check(!slices.Contains(cl.given, "WithSecret") || cl.secretFile == "", "secret: give WithSecret or WithSecretFile, not both"),
		check(len(cl.secrets) > 0 || cl.secretFile != "" || cl.routeTLS.Cert != "" || onLoopback(c.host),
			"host %s: others than this machine reach it, so give WithSecret, WithSecretFile or WithClusterTLS", c.host),
		// A server that was removed and comes back is called by its process's name with ~ and a number.
		check(c.name == "" || checkName(c.name) == nil && !strings.Contains(c.name, "~") && len(c.name) <= mostName-8,
			"name %q: must be of letters, digits, dots, - and _, and no longer than %d", clip(c.name), mostName-8),
	)...)
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

func onLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkName says what is wrong with a name that stands in NATS subjects, URLs and files.
func checkName(name string) error {
	bad := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.~", r)
	})
	if name == "" || len(name) > mostName || bad {
		return fmt.Errorf("it must be of letters, digits, dots, - and _, and no longer than %d", mostName)
	}
	return nil
}
