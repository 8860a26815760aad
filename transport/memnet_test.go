package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A memNet is a network of pipes. Its dials and lookups take as long as the test says.
type memNet struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	packets   map[netip.AddrPort]*memPacketConn
	dials     int
	dialDelay time.Duration
	dialError error
	noAccept  chan error // what Accept fails with
	nextPort  uint16

	lookups     []string
	lookupDelay time.Duration
	naptr       map[string][]NAPTR
	srv         map[string][]SRV
	ip          map[string][]netip.Addr
	ttl         time.Duration
	lookupError error
}

func newMemNet() *memNet {
	return &memNet{listeners: map[string]*memListener{}, packets: map[netip.AddrPort]*memPacketConn{}, nextPort: 40000, ttl: time.Minute, noAccept: make(chan error)}
}

var errRefused = errors.New("refused")

type memListener struct {
	n       *memNet
	addr    netip.AddrPort
	backlog chan net.Conn
	once    sync.Once
	done    chan struct{}
}

func (n *memNet) Listen(_ context.Context, _, address string) (net.Listener, error) {
	l := &memListener{n: n, addr: netip.MustParseAddrPort(address), backlog: make(chan net.Conn, 100), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[address] = l
	return l, nil
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case err := <-l.n.noAccept:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// A memConn is one end of a pipe.
type memConn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c *memConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *memConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (n *memNet) Dial(ctx context.Context, _, local, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	delay, err := n.dialDelay, n.dialError
	l := n.listeners[address]
	n.nextPort++
	port := n.nextPort
	n.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, errRefused
	}
	if local == "" {
		local = "127.0.0.1"
	}
	from := netip.AddrPortFrom(netip.MustParseAddr(local), port)
	a, b := net.Pipe()
	l.backlog <- &memConn{b, l.addr, from}
	return &memConn{a, from, l.addr}, nil
}

type memPacket struct {
	data []byte
	from netip.AddrPort
	err  error
}

type memPacketConn struct {
	net.PacketConn
	n    *memNet
	addr netip.AddrPort
	in   chan memPacket
	once sync.Once
	done chan struct{}
}

func (n *memNet) ListenPacket(_ context.Context, _, address string) (net.PacketConn, error) {
	c := &memPacketConn{n: n, addr: netip.MustParseAddrPort(address), in: make(chan memPacket, 1000), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.packets[c.addr] = c
	return c, nil
}

func (c *memPacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

func (c *memPacketConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

func (c *memPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		if p.err != nil {
			return 0, nil, p.err
		}
		return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo tells the sender by an UnreachableError when nobody has the address.
func (c *memPacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	ap, _ := addrPortOf(to)
	c.n.mu.Lock()
	peer := c.n.packets[ap]
	c.n.mu.Unlock()
	data := append([]byte(nil), b...)
	if peer == nil {
		c.in <- memPacket{err: &UnreachableError{To: ap, Sent: data}}
		return len(b), nil
	}
	peer.in <- memPacket{data: data, from: c.addr}
	return len(b), nil
}

func (n *memNet) look(ctx context.Context, what string) error {
	n.mu.Lock()
	n.lookups = append(n.lookups, what)
	delay, err := n.lookupDelay, n.lookupError
	n.mu.Unlock()
	select {
	case <-time.After(delay):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// asked gives the lookups since it was last called.
func (n *memNet) asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.lookups
	n.lookups = nil
	return out
}

func (n *memNet) LookupNAPTR(ctx context.Context, name string) ([]NAPTR, time.Duration, error) {
	err := n.look(ctx, "NAPTR "+name)
	return append([]NAPTR(nil), n.naptr[name]...), n.ttl, err
}

func (n *memNet) LookupSRV(ctx context.Context, name string) ([]SRV, time.Duration, error) {
	err := n.look(ctx, "SRV "+name)
	return append([]SRV(nil), n.srv[name]...), n.ttl, err
}

func (n *memNet) LookupIP(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	err := n.look(ctx, "IP "+name)
	return append([]netip.Addr(nil), n.ip[name]...), n.ttl, err
}
