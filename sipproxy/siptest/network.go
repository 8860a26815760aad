package siptest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// T is the part of testing.TB that this package needs, so that it also serves programs that are no tests.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A Network is an internet in memory: hosts with IPv4 and IPv6 addresses, datagrams, connections, DNS, NAT boxes, and
// links that lose, double, reorder and delay. Its zero value is ready for use. It uses package time, so inside a
// testing/synctest bubble it runs in virtual time; make it inside the bubble then.
//
// A Network is itself a transport.Net, the view of a host that owns 127.0.0.1, ::1 and may listen at any other address.
// Host gives the view of one host. All methods are safe for concurrent use.
type Network struct {
	// Seed of everything random. The same seed and the same traffic give the same losses.
	Seed uint64
	// T is failed by WrongGoroutine. Nil: WrongGoroutine panics.
	T T
	// StreamBuffer is how many bytes a connection takes in one direction before Write blocks; 256 KiB.
	StreamBuffer int
	// PacketBuffer is how many datagrams a socket queues before it drops; 4096.
	PacketBuffer int
	// ICMP makes a datagram socket return a *transport.UnreachableError from ReadFrom after it sent to a port of a known host where nobody
	// listens, as Linux does with IP_RECVERR. Datagrams to unknown hosts vanish in any case.
	ICMP bool

	mu     sync.Mutex
	public *realm
	self   *Host
	links  map[direction]*Link
	ways   map[direction]*way
	cut    map[netip.Addr]bool
	healed chan struct{}
	held   []func()
	queue  schedule
	conns  map[*conn]struct{}
	taps   []func(Packet)
	count  uint64
	dns    DNS
	asked  int
}

// A realm is an address space: the public one or the inside of a NAT box.
type realm struct {
	nat   *NAT // nil: public
	hosts map[netip.Addr]*Host
	boxes map[netip.Addr]*NAT // NAT boxes with their public side here
}

func newRealm(b *NAT) *realm {
	return &realm{nat: b, hosts: make(map[netip.Addr]*Host), boxes: make(map[netip.Addr]*NAT)}
}

// A Host is a transport.Net with the eyes of one machine: it listens at its own addresses only and dials from them.
type Host struct {
	n     *Network
	realm *realm
	addrs []netip.Addr
	any   bool // the Network's own view
	udp   map[netip.AddrPort]*packetConn
	tcp   map[netip.AddrPort]*listener
	next  uint16
}

var (
	_ transport.Net = (*Network)(nil)
	_ transport.Net = (*Host)(nil)
)

// Host returns the host that owns the first of these addresses, made with all of them when it is new. It panics on a
// text that is no IP address.
func (n *Network) Host(ips ...string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host(n.outside(), ips)
}

func (n *Network) host(r *realm, ips []string) *Host {
	if len(ips) == 0 {
		panic("siptest: a host needs an address")
	}
	if h := r.hosts[netip.MustParseAddr(ips[0]).Unmap()]; h != nil {
		return h
	}
	h := &Host{n: n, realm: r, udp: make(map[netip.AddrPort]*packetConn), tcp: make(map[netip.AddrPort]*listener), next: 49151}
	for _, ip := range ips {
		a := netip.MustParseAddr(ip).Unmap()
		h.addrs = append(h.addrs, a)
		r.hosts[a] = h
	}
	return h
}

// outside makes the zero value usable; n.mu is held.
func (n *Network) outside() *realm {
	if n.public == nil {
		n.public = newRealm(nil)
		n.links = make(map[direction]*Link)
		n.ways = make(map[direction]*way)
		n.cut = make(map[netip.Addr]bool)
		n.healed = make(chan struct{})
		n.conns = make(map[*conn]struct{})
		n.self = n.host(n.public, []string{"127.0.0.1", "::1"})
		n.self.any = true
	}
	return n.public
}

func (n *Network) own() *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outside()
	return n.self
}

// Addr is the first address of the host.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// String is the first address of the host.
func (h *Host) String() string { return h.addrs[0].String() }

// ListenPacket listens for datagrams at any address.
func (n *Network) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return n.own().ListenPacket(ctx, network, address)
}

// Listen listens for connections at any address.
func (n *Network) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return n.own().Listen(ctx, network, address)
}

// Dial connects from 127.0.0.1 or ::1, or from local.
func (n *Network) Dial(ctx context.Context, network, local, address string) (net.Conn, error) {
	return n.own().Dial(ctx, network, local, address)
}

// ListenPacket opens a datagram socket at an address of the host, or with the unspecified address at all of them. Port 0
// is chosen. Errors are those of real sockets: EADDRINUSE, EADDRNOTAVAIL.
func (h *Host) ListenPacket(_ context.Context, network, address string) (net.PacketConn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	o, at, err := h.bind("listen", network, address)
	if err != nil {
		return nil, err
	}
	p := &packetConn{n: h.n, host: o, local: at, notify: make(chan struct{}, 1), done: make(chan struct{})}
	p.read.init()
	o.udp[at] = p
	return p, nil
}

// Listen opens a listener for connections, by the rules of ListenPacket.
func (h *Host) Listen(_ context.Context, network, address string) (net.Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	o, at, err := h.bind("listen", network, address)
	if err != nil {
		return nil, err
	}
	l := &listener{n: h.n, host: o, local: at, notify: make(chan struct{}, 1), done: make(chan struct{})}
	l.accept.init()
	o.tcp[at] = l
	return l, nil
}

// bind finds the host and address for a new socket; n.mu is held.
func (h *Host) bind(op, network, address string) (*Host, netip.AddrPort, error) {
	fail := func(err error) (*Host, netip.AddrPort, error) {
		return nil, netip.AddrPort{}, &net.OpError{Op: op, Net: network, Err: err}
	}
	at, err := h.n.parse(network, address)
	if err != nil {
		return fail(err)
	}
	if !at.Addr().IsUnspecified() {
		if h.any {
			h = h.n.host(h.realm, []string{at.Addr().String()})
		} else if h.realm.hosts[at.Addr()] != h {
			return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
		}
	}
	stream := network[0] == 't'
	if at.Port() == 0 {
		at = h.freePort(stream, at.Addr())
	}
	if h.taken(stream, at) {
		return fail(os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	return h, at, nil
}

func (h *Host) taken(stream bool, at netip.AddrPort) bool {
	if stream {
		return h.tcp[at] != nil
	}
	return h.udp[at] != nil
}

// freePort gives ports that were never used before on this host, so that runs are repeatable and old answers find nobody.
func (h *Host) freePort(stream bool, a netip.Addr) netip.AddrPort {
	for {
		h.next++
		if h.next < 1024 {
			h.next = 49152
		}
		if at := netip.AddrPortFrom(a, h.next); !h.taken(stream, at) {
			return at
		}
	}
}

// parse reads an address; names are looked up in the table without delay. n.mu is held.
func (n *Network) parse(network, address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := net.LookupPort(network, port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var a netip.Addr
	switch {
	case network == "" || (network[:3] != "udp" && network[:3] != "tcp"):
		return netip.AddrPort{}, net.UnknownNetworkError(network)
	case host == "" && network[3:] == "4":
		a = netip.IPv4Unspecified()
	case host == "":
		a = netip.IPv6Unspecified()
	default:
		if a, err = netip.ParseAddr(host); err != nil {
			ips := n.dns.ips(host)
			if len(ips) == 0 {
				return netip.AddrPort{}, notFound(host)
			}
			a = ips[0]
		}
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(number)), nil //nolint:gosec // LookupPort bounds it
}

// source is the address of the host that speaks to dst: the first of the same family.
func (h *Host) source(dst netip.Addr) (netip.Addr, bool) {
	for _, a := range h.addrs {
		if a.Is4() == dst.Is4() && a.IsLoopback() == dst.IsLoopback() {
			return a, true
		}
	}
	for _, a := range h.addrs {
		if a.Is4() == dst.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// WrongGoroutine fails the test and ends the calling goroutine, before it does harm: the engine calls it when a handler used what
// belongs to its goroutine on another one.
func (n *Network) WrongGoroutine(what string) {
	text := "siptest: " + what + " was called on another goroutine than the one that runs the handler or hook.\n" +
		"\tForward, Block and Send belong to the goroutine of ServeSIP (or of the hook): wait there for what other goroutines do."
	if n.T == nil {
		panic(text)
	}
	n.T.Errorf("%s", text)
	runtime.Goexit()
}

// WrongGoroutine is Network.WrongGoroutine.
func (h *Host) WrongGoroutine(what string) { h.n.WrongGoroutine(what) }

// Partition cuts hosts off: datagrams from and to them vanish, bytes of connections wait until Heal, dialling waits.
func (n *Network) Partition(ips ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outside()
	for _, ip := range ips {
		n.cut[netip.MustParseAddr(ip)] = true
	}
}

// Heal ends a Partition, of all hosts when none is named.
func (n *Network) Heal(ips ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outside()
	for _, ip := range ips {
		delete(n.cut, netip.MustParseAddr(ip))
	}
	if len(ips) == 0 {
		clear(n.cut)
	}
	close(n.healed)
	n.healed = make(chan struct{})
	held := n.held
	n.held = nil
	for _, f := range held {
		f() // what is still cut off queues up again, in order
	}
}

// Reset breaks every connection of a host, or of all hosts when ip is "": both sides see ECONNRESET.
func (n *Network) Reset(ip string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if ip == "" || c.local.Addr().String() == ip || c.remote.Addr().String() == ip {
			c.fail(syscall.ECONNRESET)
			c.peer.fail(syscall.ECONNRESET)
		}
	}
}

// now is the instant of the bubble or of the world.
func now() time.Time { return time.Now() }

// At is a port of the first address of the host.
func (h *Host) At(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.addrs[0], port) }

// InterfaceAddrs are the addresses of the host: what wildcard listeners of package transport stand for. IPv4 addresses have a network
// of 24 bits around them, IPv6 addresses one of 64.
func (h *Host) InterfaceAddrs() ([]net.Addr, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	var out []net.Addr
	for _, a := range h.addrs {
		ones := 64
		if a.Is4() {
			ones = 24
		}
		out = append(out, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(ones, a.BitLen())})
	}
	return out, nil
}

// InterfaceAddrs are 127.0.0.1 and ::1.
func (n *Network) InterfaceAddrs() ([]net.Addr, error) { return n.own().InterfaceAddrs() }
