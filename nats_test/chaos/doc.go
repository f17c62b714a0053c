// Package chaos is a test: a fleet of real processes, three servers and the nodes and observers of a bus, under faults
// that a seed chooses, and a check of the promises against all that every process saw.
//
//	go test ./nats_test/chaos                         # three short seeds
//	go test ./nats_test/chaos -seed=7 -for=5m         # one, longer; -v tells the timeline as it goes
//	go test ./nats_test/chaos -seed=7 -runs=20        # seeds 7 to 26
//	go test ./nats_test/chaos -seed=7 -faults=kill,freeze
//	go test ./nats_test/chaos -soak -for=1h -timeout=2h
//
// A failure tells the seed, the first broken promise, what happened around it, and the command that runs it again. The
// seed decides the schedule of faults; the machine decides the rest, so the same seed may end otherwise.
//
// Every node handles two methods in each of its scopes, and every process calls them, all the time.
//
// The parts: the controller (fleet) starts processes (server, node) and joins them by links; the nemesis makes faults of
// the schedule; every process tells what it does and sees in records, which make one history; the checks read that
// history, and nothing else.
package chaos
