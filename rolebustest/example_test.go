package rolebustest_test

import (
	"fmt"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/rolebustest"
)

// In a test t is the test's own *testing.T, and ends by itself.
func Example() {
	t := newStandIn()
	defer t.end()

	srv := rolebustest.NewServer(t)
	srv.Bus(rolebus.WithNode("api-1"), rolebus.WithRoles("api"))
	web := srv.Bus(rolebus.WithNode("web-1"))

	rolebustest.WaitRoles(t, web, "api-1", "api")
	fmt.Println(web.Nodes("api").At(0).Name())
	// Output: api-1
}

// A process that dies without a goodbye is gone when its TTL is over, and comes back when it can.
func ExampleLink() {
	t := newStandIn()
	defer t.end()

	srv := rolebustest.NewServer(t)
	link := srv.Link()
	link.Bus(rolebus.WithNode("api-1"), rolebus.WithRoles("api"), rolebus.WithTTL(time.Second))
	web := srv.Bus(rolebus.WithNode("web-1"))
	rolebustest.WaitRoles(t, web, "api-1", "api")

	link.Cut()
	rolebustest.WaitRoles(t, web, "api-1")
	fmt.Println("without a link:", web.Nodes("api").Len())

	link.Mend()
	rolebustest.WaitRoles(t, web, "api-1", "api")
	fmt.Println("with a link:", web.Nodes("api").Len())
	// Output:
	// without a link: 0
	// with a link: 1
}

// A network that is far: each message is 50 ms under way.
func ExampleLink_Delay() {
	t := newStandIn()
	defer t.end()

	link := rolebustest.NewServer(t).Link()
	link.Delay(50 * time.Millisecond)
	rtt, err := link.Conn().RTT()
	fmt.Println(rtt >= 100*time.Millisecond, err)
	// Output: true <nil>
}

// A network that is bad: roles arrive all the same, only later.
func ExampleLink_Loss() {
	t := newStandIn()
	defer t.end()

	srv := rolebustest.NewServer(t)
	link := srv.Link()
	link.Delay(20 * time.Millisecond)
	link.Loss(0.05)
	web := link.Bus(rolebus.WithNode("web-1"))
	srv.Bus(rolebus.WithNode("api-1"), rolebus.WithRoles("api"))
	rolebustest.WaitRoles(t, web, "api-1", "api")
	fmt.Println(web.Nodes("api").At(0).Name())
	// Output: api-1
}

// A network that is dead one way: the others lose a process that still hears them.
func ExampleLink_StallUp() {
	t := newStandIn()
	defer t.end()

	srv := rolebustest.NewServer(t)
	link := srv.Link()
	mute := link.Bus(rolebus.WithNode("api-1"), rolebus.WithRoles("api"), rolebus.WithTTL(time.Second))
	web := srv.Bus(rolebus.WithNode("web-1"), rolebus.WithRoles("web"))
	rolebustest.WaitRoles(t, mute, "web-1", "web")

	link.StallUp()
	rolebustest.WaitRoles(t, web, "api-1")
	fmt.Println(web.Nodes("api").Len(), mute.Nodes("web").Len())

	link.Mend()
	rolebustest.WaitRoles(t, web, "api-1", "api")
	fmt.Println(web.Nodes("api").Len(), mute.Nodes("web").Len())
	// Output:
	// 0 1
	// 1 1
}

// The restart of a server is not seen in the roles.
func ExampleServer_Restart() {
	t := newStandIn()
	defer t.end()

	srv := rolebustest.NewServer(t)
	api := srv.Bus(rolebus.WithRoles("api"))
	srv.Restart()
	fmt.Println(api.MyRoles())
	// Output: [api]
}

// Processes that are their own NATS: one goes, and comes back to its place.
func ExampleNewSelfFormed() {
	t := newStandIn()
	defer t.end()

	fleet := rolebustest.NewSelfFormed(t, 3, 4, embedded.WithGrace(time.Minute))
	one, spare := fleet.Processes()[0], fleet.Processes()[3]
	one.Bus(rolebus.WithRoles("api"))
	watcher := spare.Bus()
	rolebustest.WaitRoles(t, watcher, one.Name(), "api")
	fmt.Println(one.Cluster().State().Part, spare.Cluster().State().Part, watcher.Nodes("api").Len())

	one.Stop() // as for an update; Kill, and no Start, would have the spare take its place
	fmt.Println(one.Cluster().State().Part, spare.Cluster().State().Part, watcher.Nodes("api").Len())

	one.Start()
	fleet.WaitReady()
	fmt.Println(one.Cluster().State().Part, spare.Cluster().State().Part)
	// Output:
	// member spare 1
	// closed spare 0
	// member spare
}
