package nats_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// With the TTL of a fleet: a goodbye that did not get through would be seen when the lease ends.
func TestCloseDuringARestartOfTheServer(t *testing.T) {
	srv := rolebustest.NewServer(t)
	long := rolebus.WithTTL(30 * time.Second)
	o := bus(srv, "o", rolebus.WithObserver(), long)
	for name, cut := range map[string]func(a *rolebus.Bus){
		"closed while it is down": func(*rolebus.Bus) { srv.Stop() },
		"closed as it goes down":  func(*rolebus.Bus) { go srv.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			a := bus(srv, "a", long, rolebus.WithRoles("x"))
			rolebustest.WaitRoles(t, o, "a", "x")
			seen := watch(t, o.Scope)
			cut(a)
			closed := make(chan error, 1)
			go func() { closed <- a.Close() }()
			eventually(t, "the server to be down", func() bool { return !srv.Running() })
			down := time.NewTimer(200 * time.Millisecond) // as a restart takes
			<-down.C
			srv.Start()
			back := time.Now()
			err := <-closed
			took := time.Since(back)
			require.NoError(t, err)
			rolebustest.WaitRoles(t, o, "a")
			eventually(t, "the goodbye", func() bool {
				lines := seen.lines("a")
				return len(lines) > 0 && lines[len(lines)-1] == "NodeLeft left"
			})
			t.Logf("the goodbye was heard %v after the server was back", took)
		})
	}
}
