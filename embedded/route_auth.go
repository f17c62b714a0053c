package embedded

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/url"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// routeUser is whom servers are for each other.
const routeUser = "rolebus"

// routeAuth is how the servers of a cluster know each other: by a password that is made of the secret and the cluster's identity, so that
// none of another cluster fits, and by TLS.
type routeAuth struct {
	secrets   func() []string // those that are accepted, its own first; none: everybody is
	cluster   string
	routeTLS  *tls.Config // nil: none
	clientTLS *tls.Config
}

const tlsTimeout = 5 // seconds; nats-server's 2 are few for a machine that is busy

// set has a server know others, and be known.
func (a *routeAuth) set(o *server.Options) {
	if a.clientTLS != nil {
		o.TLSConfig, o.TLSTimeout = a.clientTLS, tlsTimeout
	}
	if a.routeTLS != nil {
		o.Cluster.TLSConfig, o.Cluster.TLSTimeout = a.routeTLS, tlsTimeout
	}
	if passwords := a.passwords(); len(passwords) > 0 {
		o.Cluster.Username, o.Cluster.Password = routeUser, passwords[0]
		o.CustomRouterAuthentication = a
	}
}

// Check says whether a server may be of the cluster. It is nats-server's to call.
func (a *routeAuth) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	known := false
	for _, password := range a.passwords() {
		known = same(o.Password, password) || known
	}
	return same(o.Username, routeUser) && known
}

func (a *routeAuth) passwords() []string {
	var list []string
	for _, secret := range a.secrets() {
		key, err := hkdf.Key(sha256.New, []byte(secret), []byte(a.cluster), "rolebus route 1", 16)
		if err != nil {
			panic(err) // of lengths that are constant
		}
		list = append(list, hex.EncodeToString(key))
	}
	return list
}

// url is where a server of the cluster is told to connect to.
func (a *routeAuth) url(host string, port int) *url.URL {
	u := &url.URL{Scheme: "nats-route", Host: net.JoinHostPort(host, strconv.Itoa(port))}
	if passwords := a.passwords(); len(passwords) > 0 {
		u.User = url.UserPassword(routeUser, passwords[0])
	}
	return u
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
