// Package rolebus tells every process of a fleet which process can do what, at every moment and without asking anybody.
//
// Each process is a node with a stable name. In one or more scopes it gives itself roles, and from its own memory it
// reads who has which role. NATS carries it: a JetStream key-value bucket stores the roles, orders every change and
// announces it, and buries the dead. No other service is needed, there is no leader, and no process's wall clock is
// trusted.
//
// # The model
//
//   - A node is one process; a scope is a world of nodes and roles that nothing crosses.
//   - In a scope a node has one record in the bucket: its roles and its metadata. Only the node itself writes it.
//   - The server announces what it stores, in the order in which it stores it: one write is one change for everybody.
//   - A lease stands beside the record: an order to the server to replace the record by a tombstone at a given time. A
//     heartbeat moves that time. Nobody else sees it.
//   - A node that leaves writes the tombstone itself. A node that dies does not move its lease, and the server writes it.
//   - Each start of a node is an incarnation, with a larger number than all before it. It takes the record over, and an
//     older process of the same name stops with [ErrSuperseded].
//   - One goroutine per scope applies the changes and makes an immutable [Snapshot] of the result. Readers load one
//     pointer: they never lock, wait or fail, nor allocate, but
//     for a long list that is asked for the first time after a change.
//   - What was missed is read from the bucket: after a reconnect, when messages were dropped, and every sync interval.
//
// # Order and consistency
//
// A snapshot holds, for each node, a state that this node itself wrote. Of one node no reader ever sees an older state
// after a newer one, not even when the bucket goes back. Of two nodes, two processes may see the changes at slightly
// different times. All answers of one [Snapshot] are of one instant.
//
// [Scope.AddRoles], [Scope.RemoveRoles], [Scope.ChangeRoles], [Scope.SetRoles] and [Bus.SetMeta] return when the bucket holds
// the change and the caller's own snapshot shows it; the snapshots of others follow within the time that a message takes.
// Several changes that wait at the same time leave in one write. What is already so is not written again.
//
// Once faults stop, all snapshots equal the bucket, and the bucket holds what the living nodes last wanted: a node
// whose record was lost writes it again at its next heartbeat. While NATS cannot be reached, reads go on answering from
// the last snapshot ([Snapshot.Stale] tells its age), nobody is taken for dead, and changes are kept and written later
// ([ErrNotConfirmed]).
//
// A dead process is gone from every snapshot when its lease ends: at most half a second more than one TTL after its last
// heartbeat; the TTL is 15 seconds unless [WithTTL] says otherwise. Mostly it is gone long before: processes ask their
// neighbours whether they are there ([WithProbeInterval]), and leave out whom they cannot reach until it answers or changes
// ([ReasonUnreachable]); when its lease has ended it is gone for certain ([NodeBuried]). A process that closes its [Bus] is
// gone at once.
//
// A process that must know whether it is still listed itself asks [Scope.LeaseLeft], or hangs its work on [Scope.LeaseContext].
//
// # End
//
// [Bus.Close] says goodbye in every scope and stops; what a server that restarts does not hear is said again. [Bus.Shutdown]
// takes the roles away first, and lets the work end that they brought ([Bus.OnShutdown]), before the node goes; [Bus.Leave] does so
// for one scope ([Scope.OnLeave]). [Bus.Err] says why a Bus stops as soon as it begins to, and [Bus.Check] tells a page of health whether all is well.
//
// # Start
//
// [Connect] joins with a connection of its own, to a server that it is given or finds ([WithDiscovery]), [New] with one that the program has already; both need a NATS server
// 2.12 or newer with JetStream. A [Bus] is also its default [Scope]: the calls for roles, nodes and events are those of
// Scope, and [Bus.In] and [Bus.Join] reach other scopes. [Scope.Watch] and [WithHandler] tell what changes, [Scope.Snapshots]
// tells that something did, and [Scope.Wait] waits for something to be so.
//
// # Building on the bus
//
// A package that builds on it, as package call does, sends to one life of a node ([Scope.Address]), hears what is sent to each life of
// its own ([Scope.Listen]), or to any subject ([Bus.Subscribe]), asks whether a node is there ([Scope.Probe]) and whether there is a
// connection ([Bus.Connected]), keeps its things with the scope ([Scope.Keep]), and ends with the Bus ([Bus.Go], [Bus.Context],
// [Scope.OnLeave]).
//
// # Packages
//
// Package call calls a node by its role, as if it were a local function. Package discovery finds the NATS servers, see [WithDiscovery];
// discovery/kubernetes, a module of its own, does so in Kubernetes. Package embedded runs a NATS server inside the process, and
// package rolebustest is for tests.
package rolebus
