// Package exclusive is a test: real processes campaign for the same names while processes, links, servers, clocks and what the servers
// have stored are harmed as a seed chooses, and a check of what every process held, and when.
//
//	go test ./nats_test/exclusive                                     # two short seeds: one server, and a cluster of three
//	go test ./nats_test/exclusive -run TestTerms -seeds=200 -for=60s -timeout=10h
//	go test ./nats_test/exclusive -run TestTerms -seed=7 -for=60s -v  # one; -v tells what is done to it
//	go test ./nats_test/exclusive -run TestTerms -seed=7 -faults=freeze,older-all
//
// The machine's one monotonic clock is the judge. A process looks at it, and only then whether it still holds a name: so all that it says it
// held, it did hold. It says so in memory that it shares with the test, which outlives it. The seed decides what is done and for how long; the
// machine decides the rest, so the same seed may end otherwise.
//
// Two things are excused, and told: an overlap where the store lost the holder's claim while its process was away, for as long as that lasted; and
// a token that does not grow where the store lost the larger one after the servers' clocks had been set.
//
// The same check finds what a plain use of the bus does when a link is cut: TestTheNaiveWayOverlaps.
package exclusive
