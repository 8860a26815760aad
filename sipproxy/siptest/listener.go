package siptest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// A listener accepts connections. Its fields beside the channels are guarded by n.mu.
type listener struct {
	n       *Network
	host    *Host
	local   netip.AddrPort
	backlog []*conn
	notify  chan struct{}
	done    chan struct{}
	closed  bool
	accept  deadline
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		if l.accept.passed() {
			return nil, l.opError(os.ErrDeadlineExceeded)
		}
		c, err := l.pop()
		if err != nil {
			return nil, err
		}
		if c != nil {
			return c, nil
		}
		select {
		case <-l.notify:
		case <-l.done:
		case <-l.accept.wait():
		}
	}
}

func (l *listener) pop() (*conn, error) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.closed {
		return nil, l.opError(net.ErrClosed)
	}
	if len(l.backlog) == 0 {
		return nil, nil
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	if len(l.backlog) > 0 {
		signal(l.notify)
	}
	return c, nil
}

// SetDeadline bounds Accept, as for a net.TCPListener.
func (l *listener) SetDeadline(t time.Time) error { l.accept.set(t); return nil }

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// Close refuses what nobody has accepted yet.
func (l *listener) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.closed {
		return l.opError(net.ErrClosed)
	}
	l.closed = true
	l.accept.stop()
	delete(l.host.tcp, l.local)
	for _, c := range l.backlog {
		c.fail(syscall.ECONNRESET)
		c.peer.fail(syscall.ECONNRESET)
	}
	close(l.done)
	return nil
}

func (l *listener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Source: l.Addr(), Err: err}
}

func (h *Host) listener(at netip.AddrPort) *listener {
	if l := h.tcp[at]; l != nil {
		return l
	}
	if at.Addr().Is4() {
		if l := h.tcp[netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())]; l != nil {
			return l
		}
	}
	return h.tcp[netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())]
}

// Dial opens a connection ("tcp") or a connected datagram socket ("udp") from an address of the host, or from local. It takes
// one round trip of the link. A port where nobody listens gives ECONNREFUSED, an address that no host has EHOSTUNREACH; to a
// host that is cut off it waits for Heal or the end of ctx.
func (h *Host) Dial(ctx context.Context, network, local, address string) (net.Conn, error) {
	d := &dialer{n: h.n, h: h, network: network}
	if err := d.prepare(local, address); err != nil {
		return nil, d.fail(err)
	}
	if network[0] == 'u' {
		return d.packet()
	}
	for {
		wait, healed := d.begin()
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-healed:
			continue
		case <-ctx.Done():
			return nil, d.fail(contextError(ctx))
		}
		break
	}
	if err := ctx.Err(); err != nil {
		return nil, d.fail(contextError(ctx))
	}
	c, err := d.connect()
	if err != nil {
		return nil, d.fail(err)
	}
	return c, nil
}

// contextError is what package net makes of the end of a context.
func contextError(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return os.ErrDeadlineExceeded
	}
	return ctx.Err()
}

type dialer struct {
	n       *Network
	h       *Host
	network string
	src     netip.AddrPort // on the host
	seen    netip.AddrPort // as the peer sees it
	dst     netip.AddrPort
	realm   *realm // of dst
}

func (d *dialer) fail(err error) error {
	e := &net.OpError{Op: "dial", Net: d.network, Err: err}
	if d.dst.IsValid() {
		e.Addr = net.TCPAddrFromAddrPort(d.dst)
	}
	return e
}

func (d *dialer) prepare(local, address string) error {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	dst, err := d.n.parse(d.network, address)
	if err != nil {
		return err
	}
	d.dst = dst
	stream := d.network[0] == 't'
	from, ok := d.h.source(dst.Addr())
	port := uint16(0)
	if local != "" {
		if a, err := netip.ParseAddrPort(local); err == nil {
			from, port = a.Addr().Unmap(), a.Port()
		} else if from, err = netip.ParseAddr(local); err != nil {
			return err
		}
		from, ok = from.Unmap(), true
		if d.h.any {
			d.h = d.n.host(d.h.realm, []string{from.String()})
		}
		if d.h.realm.hosts[from] != d.h {
			return os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
		}
	}
	if !ok {
		return os.NewSyscallError("connect", syscall.ENETUNREACH)
	}
	d.src = netip.AddrPortFrom(from, port)
	if port == 0 {
		d.src = d.h.freePort(stream, from)
	}
	if stream {
		d.realm, d.seen = d.h.realm.outbound(transport.TCP, d.src, dst)
	}
	return nil
}

// begin gives a channel that closes after the round trip of the handshake (never, while cut off), nil when there is none.
func (d *dialer) begin() (wait, healed chan struct{}) {
	n := d.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[d.src.Addr()] || n.cut[d.seen.Addr()] || n.cut[d.dst.Addr()] {
		return make(chan struct{}), n.healed
	}
	trip := n.link(d.src.Addr(), d.seen.Addr(), d.dst.Addr()).Delay + n.link(d.dst.Addr(), d.dst.Addr(), d.seen.Addr()).Delay
	if trip == 0 {
		return nil, nil
	}
	wait = make(chan struct{})
	time.AfterFunc(trip, func() { close(wait) })
	return wait, nil
}

func (d *dialer) connect() (net.Conn, error) {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	h, at, why := d.realm.inbound(transport.TCP, d.seen, d.dst)
	if h == nil && why == "" {
		return nil, os.NewSyscallError("connect", syscall.EHOSTUNREACH)
	}
	var l *listener
	if why == "" {
		l = h.listener(at)
	}
	if l == nil {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	near := newConn(d.n, d.src, d.dst)
	far := newConn(d.n, at, d.seen)
	near.peer, far.peer = far, near
	near.nat, far.nat = d.h.realm.nat, d.h.realm.nat
	near.inside = true
	d.n.conns[near], d.n.conns[far] = struct{}{}, struct{}{}
	l.backlog = append(l.backlog, far)
	signal(l.notify)
	return near, nil
}

// packet makes a connected datagram socket.
func (d *dialer) packet() (net.Conn, error) {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	p := &packetConn{n: d.n, host: d.h, local: d.src, notify: make(chan struct{}, 1), done: make(chan struct{})}
	p.read.init()
	d.h.udp[d.src] = p
	return &connected{packetConn: p, remote: d.dst}, nil
}

// A connected datagram socket hears one peer only.
type connected struct {
	*packetConn
	remote netip.AddrPort
}

func (c *connected) Read(b []byte) (int, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil || from == c.remote {
			return n, err
		}
	}
}
func (c *connected) Write(b []byte) (int, error) { return c.WriteToUDPAddrPort(b, c.remote) }
func (c *connected) RemoteAddr() net.Addr        { return net.UDPAddrFromAddrPort(c.remote) }
