package discovery

import (
	"os"
	"strings"
)

// ServiceName is the DNS name of a service in Kubernetes, for [SRV] and [DNS]: "_nats._tcp.nats.default.svc.cluster.local." of the port that the
// service calls "nats", the service "nats" and the namespace "default". Without a port it is "nats.default.svc.cluster.local.", whose
// A and AAAA records are the addresses of the pods if the service is headless. The dot at its end keeps search domains out: one query instead of
// five.
//
// The cluster's domain, with or without dots at its ends, is that of the environment variable CLUSTER_DOMAIN if it is empty, and without that
// "cluster.local". It is put behind the name, whatever that has in it.
//
// If the service or the namespace is empty, or no name, [SRV] and [DNS] say so.
func ServiceName(port, service, namespace, clusterDomain string) string {
	if clusterDomain == "" {
		clusterDomain = os.Getenv("CLUSTER_DOMAIN")
	}
	clusterDomain = strings.Trim(clusterDomain, ".")
	if clusterDomain == "" {
		clusterDomain = "cluster.local"
	}
	name := service + "." + namespace + ".svc." + clusterDomain + "."
	if port != "" {
		name = "_" + port + "._tcp." + name
	}
	return name
}
