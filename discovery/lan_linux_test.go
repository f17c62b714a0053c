package discovery_test

import (
	"encoding/binary"
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

// Networks of machines, made of the kernel's namespaces: each host has its own interfaces, and a bridge joins them. No command is needed,
// and no right: a user namespace gives it.

const inNamespace = "ROLEBUS_TEST_IN_NAMESPACE"

// namespaced runs the test once more in a namespace of its own, in a process of its own, and says whether it is the one there.
func namespaced(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	t.Parallel() // each is a process, which mostly waits
	run := func(flags uintptr) ([]byte, error) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		runtime.LockOSThread() // its end is that of the process
		defer runtime.UnlockOSThread()
		return cmd.CombinedOutput()
	}
	out, err := run(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET)
	var ran *exec.ExitError
	if err != nil && !errors.As(err, &ran) && os.Geteuid() == 0 {
		out, err = run(syscall.CLONE_NEWNET)
	}
	if err != nil && !errors.As(err, &ran) {
		t.Fatalf("a network namespace cannot be made: %v. Allow user namespaces (sysctl user.max_user_namespaces, "+
			"kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a container the capability SYS_ADMIN "+
			"or an unconfined seccomp profile), or run the tests as root", err)
	}
	require.NoError(t, err, "%s", out)
	return false
}

// lan is a network: hosts on a bridge.
type lan struct {
	t      testing.TB
	number int
	bridge int
	hosts  int
}

// host is a machine with interfaces of its own, of which lo is up.
type host struct {
	t  testing.TB
	ns int // file descriptor
}

// port is where a host is on a network.
type port struct {
	host
	name   string
	cable  int // the index of the bridge's end
	v4, v6 netip.Addr
}

var lans int

func newLAN(t testing.TB) *lan {
	lans++
	l := &lan{t: t, number: lans}
	name := fmt.Sprintf("br%d", l.number)
	require.NoError(t, netlink(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link(0, 0), attr(unix.IFLA_IFNAME, cstring(name)),
		attr(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, cstring("bridge")))))
	l.bridge = indexOf(t, name)
	l.up(l.bridge, true)
	return l
}

func (l *lan) up(index int, up bool) {
	l.t.Helper()
	require.NoError(l.t, netlink(unix.RTM_NEWLINK, 0, link(index, flagUp(up))))
}

func newHost(t testing.TB) host {
	h := host{t: t, ns: -1}
	var err error
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		h.ns, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = netlink(unix.RTM_NEWLINK, 0, link(1, flagUp(true)))
		}
	})
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(h.ns) })
	return h
}

// on puts a host onto the network, by an interface of this name, which is up if it is to be.
func (l *lan) on(h host, name string, up bool) *port {
	l.hosts++
	p := &port{
		host: h, name: name, v4: netip.AddrFrom4([4]byte{10, 77, byte(l.number), byte(l.hosts)}),
		v6: netip.MustParseAddr(fmt.Sprintf("fd77:%x::%x", l.number, l.hosts)),
	}
	cable := fmt.Sprintf("c%d.%d", l.number, l.hosts)
	peer := append(link(0, 0), attr(unix.IFLA_IFNAME, cstring(name))...)
	peer = append(peer, attr(unix.IFLA_NET_NS_FD, u32(h.ns))...)
	const vethPeer = 1 // VETH_INFO_PEER
	require.NoError(l.t, netlink(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link(0, 0), attr(unix.IFLA_IFNAME, cstring(cable)),
		attr(unix.IFLA_LINKINFO, append(attr(unix.IFLA_INFO_KIND, cstring("veth")), attr(unix.IFLA_INFO_DATA, attr(vethPeer, peer))...))))
	p.cable = indexOf(l.t, cable)
	require.NoError(l.t, netlink(unix.RTM_NEWLINK, 0, link(p.cable, flagUp(true)), attr(unix.IFLA_MASTER, u32(l.bridge))))
	p.do(func() error {
		index, err := findIndex(name)
		if err != nil {
			return err
		}
		for _, a := range []netip.Prefix{netip.PrefixFrom(p.v4, 24), netip.PrefixFrom(p.v6, 64)} {
			if err := netlink(unix.RTM_NEWADDR, unix.NLM_F_CREATE, address(index, a), attr(unix.IFA_LOCAL, a.Addr().AsSlice()),
				attr(unix.IFA_ADDRESS, a.Addr().AsSlice())); err != nil {
				return err
			}
		}
		return nil
	})
	if up {
		p.up(true)
	}
	return p
}

// newHost makes a host that is on the network, by eth0.
func (l *lan) host() *port { return l.on(newHost(l.t), "eth0", true) }

// up sets the port's interface up or down.
func (p *port) up(up bool) {
	p.t.Helper()
	p.do(func() error {
		index, err := findIndex(p.name)
		if err == nil {
			err = netlink(unix.RTM_NEWLINK, 0, link(index, flagUp(up)))
		}
		return err
	})
}

// do does something on the host: sockets that are opened by it are the host's for ever.
func (h host) do(f func() error) {
	h.t.Helper()
	var err error
	onThread(func() {
		if err = unix.Setns(h.ns, unix.CLONE_NEWNET); err == nil {
			err = f()
		}
	})
	require.NoError(h.t, err)
}

// onThread calls f on a thread of its own, which then ends.
func onThread(f func()) {
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread() // and never unlocked: nobody gets a thread of another namespace
		f()
	})
	done.Wait()
}

func indexOf(t testing.TB, name string) int {
	index, err := findIndex(name)
	require.NoError(t, err)
	return index
}

func findIndex(name string) (int, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFINDEX, request); err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return int(request.Uint32()), nil
}

// netlink sends one request of rtnetlink, and waits for what the kernel says.
func netlink(kind uint16, flags uint16, parts ...[]byte) error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	b := make([]byte, unix.NLMSG_HDRLEN)
	for _, part := range parts {
		b = append(b, part...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(s, answer, 0)
	switch {
	case err != nil:
		return err
	case n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR:
		return fmt.Errorf("rtnetlink: an answer of %d bytes", n)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return fmt.Errorf("rtnetlink request %d: %w", kind, syscall.Errno(-code))
	}
	return nil
}

// link is a struct ifinfomsg.
func link(index int, flags uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP) // which flags it is about
	return b
}

func flagUp(up bool) uint32 {
	if up {
		return unix.IFF_UP
	}
	return 0
}

// address is a struct ifaddrmsg. It is used at once, without a search for others who have it.
func address(index int, a netip.Prefix) []byte {
	family := byte(unix.AF_INET)
	if a.Addr().Is6() {
		family = unix.AF_INET6
	}
	return binary.NativeEndian.AppendUint32([]byte{family, byte(a.Bits()), unix.IFA_F_NODAD, 0}, uint32(index))
}

func attr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func cstring(s string) []byte { return append([]byte(s), 0) }

func u32(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
