// Package selfformed is a test: real processes that form their own NATS cluster, with a bus in each, on a network of their own, under faults
// that a seed chooses; and a judge, who hears what each process does and sees.
//
//	go test ./nats_test/selfformed                                                             # two formations, and faults for some seconds
//	go test ./nats_test/selfformed -run Formations -v -formations=100 -timeout=2h              # -v tells how long they took
//	go test ./nats_test/selfformed -run Chaos -v -seeds=50 -for=2m -timeout=4h                 # seeds 1 to 50
//	go test ./nats_test/selfformed -run Chaos -v -seed=7 -seeds=1 -for=2m -faults=kill,freeze  # one again, as far as the machine keeps time
//
// Each process has a host of its own: a network namespace with an interface. A network is split by plugging cables into another bridge, so
// what is sent across is lost without a word, as in a real one.
//
// A failure tells the seed, what happened, and what the processes logged last.
package selfformed
