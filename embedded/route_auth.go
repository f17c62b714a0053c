package embedded

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

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

	// Loop only.
	spoken  string           // the password that is shown on routes from now on
	routes  map[route]string // what is shown on those that the server was told already, if it is another one
	renewed time.Time
}

// renewPause is between two routes that are made anew with another password: so long at least the cluster has to be whole again.
const renewPause = time.Second

const tlsTimeout = 5 // seconds; nats-server's 2 are few for a machine that is busy

// set has a server know others, and be known.
func (a *routeAuth) set(o *server.Options) {
	if a.clientTLS != nil {
		o.TLSConfig, o.TLSTimeout = a.clientTLS, tlsTimeout
	}
	if a.routeTLS != nil {
		o.Cluster.TLSConfig, o.Cluster.TLSTimeout = a.routeTLS, tlsTimeout
	}
	if len(a.passwords()) > 0 {
		o.Cluster.Username, o.Cluster.Password = routeUser, a.password()
		o.CustomRouterAuthentication = a
	}
}

// password is the one that is shown: the first one, until another is agreed upon.
func (a *routeAuth) password() string {
	if passwords := a.passwords(); a.spoken == "" && len(passwords) > 0 {
		a.spoken = passwords[0]
	}
	return a.spoken
}

// marks tell others which passwords are accepted here, and nobody what they are.
func (a *routeAuth) marks() []string {
	var list []string
	for _, password := range a.passwords() {
		list = append(list, markOf(password))
	}
	return list
}

func markOf(password string) string {
	sum := sha256.Sum256([]byte("rolebus route accepts 1 " + password))
	return hex.EncodeToString(sum[:6])
}

// agree chooses the first password that all these others accept, who say so by their marks. Without one, or without others, it stays as it is.
func (a *routeAuth) agree(others [][]string) {
	for _, password := range a.passwords() {
		if len(others) == 0 || slices.ContainsFunc(others, func(marks []string) bool { return !slices.Contains(marks, markOf(password)) }) {
			continue
		}
		if was := a.password(); password != was {
			a.spoken = password
			for r, old := range a.routes {
				if old == "" {
					a.routes[r] = was
				}
			}
		}
		return
	}
}

// old returns a route on which another password than the present one is shown, and whether there is one.
func (a *routeAuth) old() (route, bool) {
	for r, password := range a.routes {
		if password != "" && password != a.spoken {
			return r, true
		}
	}
	return route{}, false
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
func (a *routeAuth) url(r route) *url.URL {
	u := &url.URL{Scheme: "nats-route", Host: net.JoinHostPort(r.host, strconv.Itoa(r.port))}
	if password := cmp.Or(a.routes[r], a.password()); password != "" {
		u.User = url.UserPassword(routeUser, password)
	}
	return u
}

// keep notes which routes the server is told.
func (a *routeAuth) keep(routes []route) {
	kept := map[route]string{}
	for _, r := range routes {
		kept[r] = a.routes[r]
	}
	a.routes = kept
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
