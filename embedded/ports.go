package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// ports are those that this process has, the same in each of its lives if they are free: of hellos, and for its server, when it has one.
type ports struct {
	Hello  int `json:"hello"`
	Route  int `json:"route"`
	Client int `json:"client"`
}

// Any port is one from here to there: not of those that systems give to connections (from 32768 on Linux, 49152 elsewhere), which would take
// the port of a server that does not run just now.
const (
	anyFrom = 10240
	anyTo   = 32767
	anyTry  = 100
)

// listen takes the ports that were chosen, or that the process had, or any that are free. It listens for hellos.
func listen(cfg *config, had ports) (l net.Listener, p ports, err error) {
	defer func() {
		if err != nil && l != nil {
			l.Close()
		}
	}()
	for _, each := range []struct {
		chosen, had int
		to          *int
		mend        string
	}{
		{cfg.cluster.helloPort, had.Hello, &p.Hello, "WithClusterPort"},
		{cfg.cluster.routePort, had.Route, &p.Route, "WithRoutePort"},
		{cfg.port, had.Client, &p.Client, "WithPort"},
	} {
		one, err := listenAt(cfg.host, each.chosen, each.had)
		if err != nil {
			return l, p, fmt.Errorf("%w: free it, or choose another by WithHost or %s", err, each.mend)
		}
		*each.to = one.Addr().(*net.TCPAddr).Port
		if l == nil {
			l = one
			continue
		}
		defer one.Close() // after all were chosen, so that no two are the same
	}
	return l, p, nil
}

// another chooses other ports for a server that could not have its own, unless they were chosen by whoever runs it.
func (p *ports) another(cfg *config) {
	for _, each := range []struct {
		chosen int
		to     *int
	}{{cfg.cluster.routePort, &p.Route}, {cfg.port, &p.Client}} {
		if each.chosen != 0 {
			continue
		}
		if l, err := listenAt(cfg.host, 0, *each.to); err == nil {
			*each.to = l.Addr().(*net.TCPAddr).Port
			defer l.Close()
		}
	}
}

func listenAt(host string, chosen, had int) (l net.Listener, err error) {
	for range anyTry {
		l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(cmp.Or(chosen, had, anyFrom+rand.IntN(anyTo-anyFrom)))))
		if err == nil || chosen != 0 || !notToBeHad(err) && had == 0 {
			break
		}
		had = 0
	}
	return l, err
}

// notToBeHad says whether a port could not be listened on though the host is right, so that another port may do: it is taken, or the system keeps it
// for itself. By the call that failed, not by its errno: Windows has others than syscall.EADDRINUSE, and also keeps whole ranges of ports.
func notToBeHad(err error) bool {
	op, call := (*net.OpError)(nil), (*os.SyscallError)(nil)
	return errors.As(err, &op) && op.Op == "listen" && errors.As(op.Err, &call) && (call.Syscall == "bind" || call.Syscall == "listen")
}
