package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A namespace is a network of its own; "" is that of the machine.
type namespace string

var namespaces atomic.Int64

// newNamespace makes a namespace that goes with the test. Without the rights for it the test is skipped, in CI too.
func newNamespace(t *testing.T, name string) namespace {
	t.Helper()
	need(t, "ip", "nft")
	ns := namespace(fmt.Sprintf("sipkit%d-%s%d", os.Getpid(), name, namespaces.Add(1)))
	if out, err := exec.Command("ip", "netns", "add", string(ns)).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", string(ns)).Run() })
	if out, err := exec.Command("ip", "-n", string(ns), "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("no rights in network namespaces: %v: %s", err, out)
	}
	return ns
}

// sweepNamespaces removes what a test process left that was killed.
func sweepNamespaces() {
	names, _ := filepath.Glob("/run/netns/sipkit*-*")
	for _, n := range names {
		n = filepath.Base(n)
		pid, _, _ := strings.Cut(strings.TrimPrefix(n, "sipkit"), "-")
		if _, err := os.Stat("/proc/" + pid); os.IsNotExist(err) {
			_ = exec.Command("ip", "netns", "del", n).Run()
		}
	}
}

// command is how a program starts there. ip gives way to the program: the process is its own.
func (ns namespace) command(name string, args ...string) (string, []string) {
	if ns == "" {
		return name, args
	}
	return "ip", append([]string{"netns", "exec", string(ns), name}, args...)
}

// run runs a command there to its end.
func (ns namespace) run(t *testing.T, line string) {
	t.Helper()
	name, args := ns.command("sh", "-c", line)
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", line, out)
}

// dial connects over TCP from there.
func (ns namespace) dial(addr string) (net.Conn, error) {
	if ns == "" {
		return net.DialTimeout("tcp", addr, time.Second)
	}
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	away, err := os.Open("/run/netns/" + string(ns))
	if err != nil {
		return nil, err
	}
	defer func() { _ = away.Close() }()
	runtime.LockOSThread()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer func() {
		// The thread must not end: programs that it started end with it (Pdeathsig).
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
		runtime.UnlockOSThread()
	}()
	return net.DialTimeout("tcp", addr, time.Second)
}

// link joins two namespaces by a cable.
func link(t *testing.T, a namespace, nameA, addrA string, b namespace, nameB, addrB string) {
	t.Helper()
	a.run(t, fmt.Sprintf("ip link add %s type veth peer name %s netns %s", nameA, nameB, b))
	for _, end := range []struct {
		ns         namespace
		name, addr string
	}{{a, nameA, addrA}, {b, nameB, addrB}} {
		if end.addr != "" {
			end.ns.run(t, fmt.Sprintf("ip addr add %s dev %s", end.addr, end.name))
		}
		end.ns.run(t, fmt.Sprintf("ip link set %s up", end.name))
	}
}

// An internet is a server on public ground and two private networks, with the same addresses inside, each behind a NAT: no packet comes in that
// nothing asked for, and a conversation with a new destination gets a new port outside (symmetric, the worst kind).
type internet struct {
	server namespace
	homes  [2]namespace
}

const (
	serverAddr = "203.0.113.1"
	homeAddr   = "192.168.1.10" // in both homes
)

var natAddrs = [2]string{"203.0.113.11", "203.0.113.12"}

func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{server: newNamespace(t, "server")}
	n.server.run(t, "ip link add br0 type bridge && ip addr add "+serverAddr+"/24 dev br0 && ip link set br0 up")
	for i := range n.homes {
		nat := newNamespace(t, "nat")
		n.homes[i] = newNamespace(t, "home")
		wan := fmt.Sprintf("wan%d", i)
		link(t, n.server, wan, "", nat, "wan", natAddrs[i]+"/24")
		n.server.run(t, "ip link set "+wan+" master br0")
		link(t, nat, "lan", "192.168.1.1/24", n.homes[i], "eth0", homeAddr+"/24")
		n.homes[i].run(t, "ip route add default via 192.168.1.1")
		nat.run(t, "echo 1 >/proc/sys/net/ipv4/ip_forward")
		nat.run(t, "nft add table ip nat && nft 'add chain ip nat post { type nat hook postrouting priority 100 ; }' && "+
			"nft add rule ip nat post oifname wan masquerade random")
	}
	return n
}
