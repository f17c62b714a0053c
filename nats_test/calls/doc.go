// Package calls is a test: many calls to real processes that are killed, frozen, drained, replaced and started all the time. What ran
// is not asked of those who called, nor of those who were called: each process writes into a file of its own what it runs, before it
// does so, and what a caller sends is read on its connection.
//
//	go test ./nats_test/calls                                     # a few thousand calls
//	go test ./nats_test/calls -run UnderKills -v -calls=100000    # -v tells how long they took, and what happened meanwhile
//	go test ./nats_test/calls -run UnderKills -seed=7             # the same faults again, as far as the machine keeps time
package calls
