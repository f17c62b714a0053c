// Package exclusive has one process of many do a thing: a name is held by at most one node of a scope at a time, for a term with a fencing
// token, and work in partitions follows the live nodes of a role.
//
//	err := exclusive.Run(ctx, scope, "scheduler", func(ctx context.Context, token uint64) error {
//		return schedule(ctx, token) // in one process at a time; over when ctx is
//	})
//
// A term is as certain as the lease of the node that has it, and costs no message while nothing changes. The holder stops by its own clock
// before the server can bury it; others take the name only when the server has buried that very life, or the holder has given it up. What
// merely cannot be reached keeps what it has, and what the bucket has lost is not free.
//
// No protocol can keep a process that was frozen from going on, for a moment, where it had stopped. What must never be done by two compares
// tokens: see [Term.Token].
//
// What has a scope as an argument panics if no Bus made it, as nil.
//
// docs/EXCLUSIVE.md is the guide: what is promised under which faults; docs/PROTOCOL.md has the form on the wire.
package exclusive
