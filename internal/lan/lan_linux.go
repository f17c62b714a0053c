package lan

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const inside = "ROLEBUS_TEST_IN_NAMESPACE"

// Namespaced runs the test once more in a namespace of its own, in a process of its own, and says whether it is the one there. The process is
// given args, besides which tests it runs.
func Namespaced(t *testing.T, args ...string) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	t.Parallel() // each is a process, which mostly waits
	run := func(flags uintptr) error {
		cmd := exec.Command("/proc/self/exe", append([]string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=5m"}, args...)...)
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		runtime.LockOSThread() // its end is that of the process
		defer runtime.UnlockOSThread()
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		return cmd.Run()
	}
	err := run(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET)
	var ran *exec.ExitError
	if err != nil && !errors.As(err, &ran) && os.Geteuid() == 0 {
		err = run(syscall.CLONE_NEWNET)
	}
	if err != nil && !errors.As(err, &ran) {
		t.Fatalf("a network namespace cannot be made: %v. Allow user namespaces (sysctl user.max_user_namespaces, "+
			"kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a container the capability SYS_ADMIN "+
			"or an unconfined seccomp profile), or run the tests as root", err)
	}
	require.NoError(t, err)
	return false
}

// LAN is a network: hosts on a bridge.
type LAN struct {
	t      testing.TB
	number int
	bridge int
	hosts  int
}

// Host is a machine with interfaces of its own, of which lo is up.
type Host struct {
	t  testing.TB
	NS int // file descriptor
}

// Port is where a host is on a network.
type Port struct {
	Host
	Name   string
	Cable  int // the index of the bridge's end
	V4, V6 netip.Addr
}

var lans int

// New makes a network without hosts.
func New(t testing.TB) *LAN {
	lans++
	l := &LAN{t: t, number: lans}
	name := fmt.Sprintf("br%d", l.number)
	require.NoError(t, Netlink(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, Link(0, 0), attr(unix.IFLA_IFNAME, cstring(name)),
		attr(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, cstring("bridge")))))
	l.bridge = indexOf(t, name)
	l.Up(l.bridge, true)
	return l
}

// Up sets an interface of the bridge, or a cable at it, up or down.
func (l *LAN) Up(index int, up bool) {
	l.t.Helper()
	require.NoError(l.t, Netlink(unix.RTM_NEWLINK, 0, Link(index, flagUp(up))))
}

// NewHost makes a host that is on no network.
func NewHost(t testing.TB) Host {
	h := Host{t: t, NS: -1}
	var err error
	OnThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		h.NS, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = Netlink(unix.RTM_NEWLINK, 0, Link(1, flagUp(true)))
		}
	})
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(h.NS) })
	return h
}

// On puts a host onto the network, by an interface of this name, which is up if it is to be.
func (l *LAN) On(h Host, name string, up bool) *Port {
	l.hosts++
	p := &Port{
		Host: h, Name: name, V4: netip.AddrFrom4([4]byte{10, 77, byte(l.number), byte(l.hosts)}),
		V6: netip.MustParseAddr(fmt.Sprintf("fd77:%x::%x", l.number, l.hosts)),
	}
	cable := fmt.Sprintf("c%d.%d", l.number, l.hosts)
	peer := append(Link(0, 0), attr(unix.IFLA_IFNAME, cstring(name))...)
	peer = append(peer, attr(unix.IFLA_NET_NS_FD, u32(h.NS))...)
	const vethPeer = 1 // VETH_INFO_PEER
	require.NoError(l.t, Netlink(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, Link(0, 0), attr(unix.IFLA_IFNAME, cstring(cable)),
		attr(unix.IFLA_LINKINFO, append(attr(unix.IFLA_INFO_KIND, cstring("veth")), attr(unix.IFLA_INFO_DATA, attr(vethPeer, peer))...))))
	p.Cable = indexOf(l.t, cable)
	require.NoError(l.t, Netlink(unix.RTM_NEWLINK, 0, Link(p.Cable, flagUp(true)), attr(unix.IFLA_MASTER, u32(l.bridge))))
	p.Do(func() error {
		index, err := IndexOf(name)
		if err != nil {
			return err
		}
		for _, a := range []netip.Prefix{netip.PrefixFrom(p.V4, 24), netip.PrefixFrom(p.V6, 64)} {
			if err := Netlink(unix.RTM_NEWADDR, unix.NLM_F_CREATE, address(index, a), attr(unix.IFA_LOCAL, a.Addr().AsSlice()),
				attr(unix.IFA_ADDRESS, a.Addr().AsSlice())); err != nil {
				return err
			}
		}
		return nil
	})
	if up {
		p.Up(true)
	}
	return p
}

// Host makes a host that is on the network, by eth0.
func (l *LAN) Host() *Port { return l.On(NewHost(l.t), "eth0", true) }

// Take plugs the cable of a port into this network, whichever it was in before: whoever is in another one does not hear of it, as
// when a network is split.
func (l *LAN) Take(p *Port) {
	l.t.Helper()
	require.NoError(l.t, Netlink(unix.RTM_NEWLINK, 0, Link(p.Cable, flagUp(true)), attr(unix.IFLA_MASTER, u32(l.bridge))))
}

// Up sets the port's interface up or down.
func (p *Port) Up(up bool) {
	p.t.Helper()
	p.Do(func() error {
		index, err := IndexOf(p.Name)
		if err == nil {
			err = Netlink(unix.RTM_NEWLINK, 0, Link(index, flagUp(up)))
		}
		return err
	})
}

// Do does something on the host: sockets that are opened by it are the host's for ever.
func (h Host) Do(f func() error) {
	h.t.Helper()
	var err error
	OnThread(func() {
		if err = unix.Setns(h.NS, unix.CLONE_NEWNET); err == nil {
			err = f()
		}
	})
	require.NoError(h.t, err)
}

// Run runs a process on the host, tells started whether it could be, and returns when it has ended. The thread that starts it lives as long: so
// Pdeathsig, which the kernel sends when that one ends, says that this process has.
func (h Host) Run(cmd *exec.Cmd, started func(error)) (err error) {
	OnThread(func() {
		if err = unix.Setns(h.NS, unix.CLONE_NEWNET); err == nil {
			err = cmd.Start()
		}
		started(err)
		if err == nil {
			err = cmd.Wait()
		}
	})
	return err
}

// OnThread calls f on a thread of its own, which then ends.
func OnThread(f func()) {
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread() // and never unlocked: nobody gets a thread of another namespace
		f()
	})
	done.Wait()
}
