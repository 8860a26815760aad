package siptest

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// A conn is one side of a connection. Its fields beside the channels and deadlines are guarded by n.mu.
type conn struct {
	n             *Network
	local, remote netip.AddrPort // as this side sees them
	peer          *conn
	nat           *NAT // box between, nil: none
	inside        bool // this side is behind it
	used          time.Time

	in       []byte // arrived, not read
	transit  int    // on the way to this side
	eof      bool   // the peer has closed and all arrived
	err      error  // the connection broke
	closed   bool   // Close was called here
	shut     bool   // CloseWrite or Close was called here
	readable chan struct{}
	writable chan struct{} // room at the peer
	done     chan struct{} // closed or broken
	ended    bool          // done is closed
	read     deadline
	write    deadline
}

func newConn(n *Network, local, remote netip.AddrPort) *conn {
	c := &conn{
		n: n, local: local, remote: remote, used: now(),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), done: make(chan struct{}),
	}
	c.read.init()
	c.write.init()
	return c
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		if c.read.passed() {
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		}
		n, wait, err := c.take(b)
		if !wait {
			return n, err
		}
		select {
		case <-c.readable:
		case <-c.done:
		case <-c.read.wait():
		}
	}
}

func (c *conn) take(b []byte) (n int, wait bool, err error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	switch {
	case c.closed:
		return 0, false, c.opError("read", net.ErrClosed)
	case c.err != nil:
		return 0, false, c.opError("read", os.NewSyscallError("read", c.err))
	case len(b) == 0:
		return 0, false, nil
	case len(c.in) > 0:
		n = copy(b, c.in)
		c.in = c.in[n:]
		signal(c.peer.writable)
		if len(c.in) > 0 || c.eof {
			signal(c.readable)
		}
		return n, false, nil
	case c.eof:
		signal(c.readable)
		return 0, false, io.EOF
	}
	return 0, true, nil
}

func (c *conn) Write(b []byte) (int, error) {
	sent := 0
	for {
		if c.write.passed() {
			return sent, c.opError("write", os.ErrDeadlineExceeded)
		}
		n, err := c.put(b[sent:])
		sent += n
		if err != nil || sent == len(b) {
			return sent, err
		}
		select {
		case <-c.writable:
		case <-c.done:
		case <-c.write.wait():
		}
	}
}

// put sends what there is room for.
func (c *conn) put(b []byte) (int, error) {
	n := c.n
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case c.closed:
		return 0, c.opError("write", net.ErrClosed)
	case c.err != nil:
		return 0, c.opError("write", os.NewSyscallError("write", c.err))
	case c.shut:
		return 0, c.opError("write", os.NewSyscallError("write", syscall.EPIPE))
	case c.forgotten():
		return c.lostState(b)
	}
	limit := n.StreamBuffer
	if limit == 0 {
		limit = 256 << 10
	}
	room := limit - len(c.peer.in) - c.peer.transit
	if room <= 0 {
		return 0, nil
	}
	b = slices.Clone(b[:min(room, len(b))])
	if len(b) == 0 {
		return 0, nil
	}
	pkt := n.packet(transport.TCP, c.public(), c.peer.public(), b)
	n.tap(pkt)
	c.used, c.peer.used = now(), now()
	c.peer.transit += len(b)
	c.ship(func() { c.peer.receive(b) })
	return len(b), nil
}

// public is the address by which the peer knows this side.
func (c *conn) public() netip.AddrPort { return c.peer.remote }

// forgotten reports whether the NAT box between has dropped the connection from its table.
func (c *conn) forgotten() bool {
	return c.nat != nil && c.nat.forgot(c.used)
}

// lostState is a write through a box that has forgotten the connection: it resets the inside and swallows the outside.
func (c *conn) lostState(b []byte) (int, error) {
	if !c.inside {
		return len(b), nil
	}
	c.fail(syscall.ECONNRESET)
	return 0, c.opError("write", os.NewSyscallError("write", syscall.ECONNRESET))
}

// ship lets f happen at the peer after the delay of the link, in order; while cut off it waits.
func (c *conn) ship(f func()) {
	n, from, to := c.n, c.public().Addr(), c.remote.Addr()
	if n.cut[c.local.Addr()] || n.cut[from] || n.cut[to] {
		n.held = append(n.held, func() { c.ship(f) })
		return
	}
	n.at(n.way(from, to).arrival(n.link(c.local.Addr(), from, to)), f)
}

// receive takes bytes that arrived. A side that has closed answers with a reset.
func (c *conn) receive(b []byte) {
	c.transit -= len(b)
	if c.closed {
		c.peer.fail(syscall.ECONNRESET)
		return
	}
	c.in = append(c.in, b...)
	signal(c.readable)
}

func (c *conn) receiveEnd() {
	c.eof = true
	signal(c.readable)
}

// fail breaks this side.
func (c *conn) fail(err error) {
	if c.err == nil && !c.closed {
		c.err = err
		c.end()
	}
}

func (c *conn) end() {
	delete(c.n.conns, c)
	if !c.ended {
		c.ended = true
		close(c.done)
	}
}

// CloseWrite ends our direction, as for a net.TCPConn.
func (c *conn) CloseWrite() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.finish()
	return nil
}

func (c *conn) finish() {
	if c.shut || c.err != nil {
		return
	}
	c.shut = true
	c.ship(c.peer.receiveEnd)
}

func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.finish()
	c.closed = true
	c.read.stop()
	c.write.stop()
	c.in = nil
	c.end()
	return nil
}

func (c *conn) LocalAddr() net.Addr                { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr               { return net.TCPAddrFromAddrPort(c.remote) }
func (c *conn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }
func (c *conn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
