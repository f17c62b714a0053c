// Package rolebustest gives the tests of programs that use rolebus what they need: a real nats-server in the test's
// process ([NewServer]), a cluster of three ([NewCluster]), a hub with a leaf node ([NewLeaf]), processes that are their own NATS, by
// embedded.Cluster ([NewSelfFormed]), buses that are closed with the test, faults, and nodes and snapshots made by hand, for which no
// server is needed ([Node], [Snapshot]).
//
//	func TestFailover(t *testing.T) {
//		srv := rolebustest.NewServer(t)
//		link := srv.Link()
//		link.Bus(rolebus.WithNode("api-1"), rolebus.WithRoles("api"))
//		web := srv.Bus()
//		rolebustest.WaitRoles(t, web, "api-1", "api")
//		link.Cut() // api-1 dies
//		rolebustest.WaitRoles(t, web, "api-1")
//	}
//
// The faults are: a process that dies ([Link.Cut]) or hangs ([Link.Stall]); a network that is dead one way
// ([Link.StallUp], [Link.StallDown]), far ([Link.Delay]) or bad ([Link.Loss]); a server that stops and starts again
// ([Server.Stop], [Server.Start]), in a cluster also one that is killed ([Server.Kill]) or split off from the others
// ([Server.Isolate]); of processes that are their own NATS, what is told at [SelfFormed].
//
// As with package embedded, every account of a server hears on rolebus.sys.disconnect which of its connections ended, so
// that a bus learns of a death from the server and not only by probing.
//
// Everything takes the test's testing.TB, fails that test with a reason if it cannot do its part, and is closed when the
// test ends, in the order opposite to that in which it was made. What may fail the test must be called from the test's own
// goroutine, as tb.Fatal must.
//
// [Eventually], [Within], [WaitNodes] and [WaitRoles] wait until something is so; nothing here sleeps for a fixed time instead.
package rolebustest
