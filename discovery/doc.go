// Package discovery finds NATS servers: by a list, a file, an environment variable, DNS, multicast on the local network, what other
// processes of this machine say, or what a program's own function says; Kubernetes is a module of its own, discovery/kubernetes.
//
//	found := discovery.Combine(
//		discovery.DNS("nats.example.com"),
//		discovery.File("nats-servers"),
//	)
//	bus, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(found))
//
// A [Strategy] tells which addresses there are, and again when that changes. Whatever it cannot learn takes nothing away: a lookup that
// fails, is refused, comes back empty or in part leaves what was found before, of each source for itself, and the reason is told, to the log
// ([WithLogger]) and to hooks ([WithHooks]). Only a whole list that is not empty lets an address go.
//
// The strategies that ask do so every [Interval], with a tenth of it more or less by chance; while a source fails less and less often, up to
// [MaxBackoff]. A source that answers that there is nothing works: it is asked as ever.
//
// All strategies may be used by several at once, each for itself. docs/DISCOVERY.md says which to choose, and has libcluster's
// configuration row by row.
package discovery
