package siptest

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// A packetConn is a datagram socket. Its fields beside the channels are guarded by n.mu.
type packetConn struct {
	n      *Network
	host   *Host
	local  netip.AddrPort
	queue  []datagram
	notify chan struct{} // capacity 1: the queue has something
	done   chan struct{}
	closed bool
	read   deadline
}

type datagram struct {
	from netip.AddrPort
	data []byte
	err  error // an ICMP error instead of data
}

func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is the method of net.UDPConn, for readers that want no allocation.
func (p *packetConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		if p.read.passed() {
			return 0, netip.AddrPort{}, p.opError("read", os.ErrDeadlineExceeded)
		}
		d, ok, err := p.pop()
		if err != nil {
			return 0, netip.AddrPort{}, err
		}
		if ok {
			return copy(b, d.data), d.from, nil
		}
		select {
		case <-p.notify:
		case <-p.done:
		case <-p.read.wait():
		}
	}
}

func (p *packetConn) pop() (d datagram, ok bool, err error) {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.closed {
		return d, false, p.opError("read", net.ErrClosed)
	}
	if len(p.queue) == 0 {
		return d, false, nil
	}
	d = p.queue[0]
	p.queue = p.queue[1:]
	if len(p.queue) > 0 {
		signal(p.notify)
	}
	if d.err != nil {
		return d, false, p.opError("read", d.err)
	}
	return d, true, nil
}

func (p *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, p.opError("write", &net.AddrError{Err: "not a UDP address", Addr: to.String()})
	}
	return p.WriteToUDPAddrPort(b, u.AddrPort())
}

// WriteToUDPAddrPort is the method of net.UDPConn.
func (p *packetConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.closed {
		return 0, p.opError("write", net.ErrClosed)
	}
	if len(b) > 65507 {
		return 0, p.opError("write", os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	if err := p.send(b, to); err != nil {
		return 0, p.opError("write", err)
	}
	return len(b), nil
}

func (p *packetConn) send(b []byte, to netip.AddrPort) error {
	src := p.local
	if src.Addr().IsUnspecified() {
		a, ok := p.host.source(to.Addr())
		if !ok {
			return os.NewSyscallError("sendto", syscall.ENETUNREACH)
		}
		src = netip.AddrPortFrom(a, src.Port())
	}
	if src.Addr().Is4() != to.Addr().Is4() {
		return os.NewSyscallError("sendto", syscall.EAFNOSUPPORT)
	}
	n := p.n
	inside := src.Addr()
	r, src := p.host.realm.outbound(transport.UDP, src, to)
	l, w := n.link(inside, src.Addr(), to.Addr()), n.way(src.Addr(), to.Addr())
	pkt := n.packet(transport.UDP, src, to, b)
	lost, twice, held := w.fate(l)
	switch {
	case n.cut[inside] || n.cut[src.Addr()] || n.cut[to.Addr()]:
		pkt.Lost = "cut off"
	case lost || (l.Drop != nil && l.Drop(pkt)):
		pkt.Lost = "lost"
	}
	if pkt.Lost != "" {
		n.tap(pkt)
		return nil
	}
	if held {
		hold := l.Hold
		if hold == 0 {
			hold = 20 * time.Millisecond
		}
		n.depart(now().Add(l.Delay+hold), r, p, pkt)
	} else {
		n.depart(w.arrival(l), r, p, pkt)
	}
	if twice {
		n.depart(w.arrival(l), r, p, n.packet(transport.UDP, src, to, b))
	}
	return nil
}

// depart tells the taps and lets the datagram arrive, which for a perfect link is now, so that the tap knows its end.
func (n *Network) depart(at time.Time, r *realm, sender *packetConn, pkt Packet) {
	pkt.Data = slices.Clone(pkt.Data)
	if !at.After(now()) && len(n.queue.items) == 0 {
		pkt.Lost = n.arrive(r, sender, pkt)
		n.tap(pkt)
		return
	}
	n.tap(pkt)
	n.at(at, func() {
		if pkt.Lost = n.arrive(r, sender, pkt); pkt.Lost != "" {
			n.tap(pkt)
		}
	})
}

// arrive puts a datagram into the socket it is for, and says why when it could not.
func (n *Network) arrive(r *realm, sender *packetConn, pkt Packet) (lost string) {
	if n.cut[pkt.To.Addr()] {
		return "cut off"
	}
	h, dst, why := r.inbound(transport.UDP, pkt.From, pkt.To)
	if why != "" {
		return why
	}
	if h == nil {
		return "no such host"
	}
	p := h.socket(dst)
	if p == nil {
		if n.ICMP {
			sender.push(datagram{err: &transport.UnreachableError{To: pkt.To, Sent: pkt.Data}})
		}
		return "port unreachable"
	}
	if !p.push(datagram{from: pkt.From, data: pkt.Data}) {
		return "receive buffer full"
	}
	return ""
}

// socket finds the socket for an address of the host: its own before a wildcard, a wildcard of its family before one of both.
func (h *Host) socket(at netip.AddrPort) *packetConn {
	if p := h.udp[at]; p != nil {
		return p
	}
	if at.Addr().Is4() {
		if p := h.udp[netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())]; p != nil {
			return p
		}
	}
	return h.udp[netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())]
}

func (p *packetConn) push(d datagram) bool {
	limit := p.n.PacketBuffer
	if limit == 0 {
		limit = 4096
	}
	if p.closed || len(p.queue) >= limit {
		return false
	}
	p.queue = append(p.queue, d)
	signal(p.notify)
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (p *packetConn) Close() error {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.closed {
		return p.opError("close", net.ErrClosed)
	}
	p.closed = true
	p.read.stop()
	delete(p.host.udp, p.local)
	close(p.done)
	return nil
}

func (p *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.local) }

func (p *packetConn) SetDeadline(t time.Time) error     { return p.SetReadDeadline(t) }
func (p *packetConn) SetReadDeadline(t time.Time) error { p.read.set(t); return nil }

// SetWriteDeadline does nothing: writing a datagram never waits.
func (p *packetConn) SetWriteDeadline(time.Time) error { return nil }

func (p *packetConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: p.LocalAddr(), Err: err}
}
