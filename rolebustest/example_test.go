package rolebustest_test

import (
	"fmt"
	"time"

	"github.com/rolebus/rolebus"
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
