package siptest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A hop is where a message goes: over a connection that is there, or to an address.
type hop struct {
	proto transport.Proto
	addr  netip.AddrPort
	conn  *phoneConn
}

func (h hop) reliable() bool { return h.proto != transport.UDP }

func viaName(p transport.Proto) string {
	if p == transport.TCP {
		return "TCP"
	}
	return "UDP"
}

// hopTo finds where a URI lives: its transport, else the phone's; its address, else the first of the DNS.
func (p *Phone) hopTo(u sip.URI) (hop, error) {
	h := hop{proto: p.Proto}
	switch strings.ToLower(u.Transport()) {
	case "udp":
		h.proto = transport.UDP
	case "tcp":
		h.proto = transport.TCP
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	if a, ok := u.IP(); ok {
		h.addr = netip.AddrPortFrom(a, port)
		return h, nil
	}
	ips, _, err := p.Net.LookupIP(p.ctx, u.Host)
	if err != nil {
		return h, fmt.Errorf("%s: %w", u.String(), err)
	}
	if len(ips) == 0 {
		return h, fmt.Errorf("%s: no address", u.String())
	}
	h.addr = netip.AddrPortFrom(ips[0], port)
	return h, nil
}

// transmit sends bytes and never waits. p.mu is held.
func (p *Phone) transmit(h hop, b []byte) {
	if p.closed {
		return
	}
	if h.proto == transport.UDP {
		if _, err := p.socket.WriteTo(b, net.UDPAddrFromAddrPort(h.addr)); err != nil {
			p.T.Logf("%s: %v", p.Name, err)
		}
		return
	}
	c := h.conn
	if c == nil || c.broken {
		c = p.connTo(h.addr)
	}
	c.out.put(b)
}

// A phoneConn is a connection of a phone, perhaps still being dialled.
type phoneConn struct {
	p      *Phone
	addr   netip.AddrPort
	out    *queue[[]byte]
	done   context.Context
	cancel context.CancelFunc
	conn   net.Conn // nil while dialling
	broken bool
}

// connTo gives the open connection to an address or a new one; p.mu is held.
func (p *Phone) connTo(a netip.AddrPort) *phoneConn {
	if c := p.conns[a]; c != nil {
		return c
	}
	c := p.newConn(a)
	p.group.Go(c.dial)
	return c
}

func (p *Phone) newConn(a netip.AddrPort) *phoneConn {
	c := &phoneConn{p: p, addr: a, out: newQueue[[]byte]()}
	c.done, c.cancel = context.WithCancel(p.ctx)
	p.conns[a] = c
	return c
}

func (c *phoneConn) dial() {
	local := c.p.at.Addr().String()
	conn, err := c.p.Net.Dial(c.done, "tcp", local, c.addr.String())
	if err != nil {
		c.fail(err)
		return
	}
	if c.open(conn) {
		c.p.group.Go(c.write)
		c.read()
	}
}

func (c *phoneConn) open(conn net.Conn) bool {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.broken {
		_ = conn.Close() // unused
		return false
	}
	c.conn = conn
	return true
}

func (c *phoneConn) write() {
	for {
		b, ok := c.out.get(c.p.Wait, c.done.Done())
		if c.done.Err() != nil {
			return
		}
		if !ok {
			continue
		}
		if _, err := c.conn.Write(b); err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *phoneConn) read() {
	var buf []byte
	part, hint := make([]byte, 8192), 0
	for {
		n, err := c.conn.Read(part)
		if err != nil {
			c.fail(err)
			return
		}
		buf = append(buf, part[:n]...)
		for len(buf) > 0 {
			m, used, ping, next, err := sip.Scan(buf, sip.Limits{}, hint)
			if err != nil {
				c.p.failf("lost the framing of the stream from %s: %v", c.addr, err)
				c.fail(err)
				return
			}
			if hint = next; used == 0 {
				break
			}
			buf, hint = buf[used:], 0
			if ping {
				c.out.put([]byte("\r\n"))
			}
			if m != nil {
				c.p.receive(m, hop{proto: transport.TCP, addr: c.addr, conn: c})
			}
		}
	}
}

// fail ends a connection and the transactions that wait for an answer on it.
func (c *phoneConn) fail(err error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.broken {
		return
	}
	c.close()
	for _, tx := range c.p.clients {
		if tx.hop.addr == c.addr && tx.hop.reliable() && tx.final == nil {
			tx.end("the connection to " + c.addr.String() + " ended: " + err.Error())
		}
	}
}

// close is idempotent; p.mu is held.
func (c *phoneConn) close() {
	if c.broken {
		return
	}
	c.broken = true
	c.cancel()
	if c.p.conns[c.addr] == c {
		delete(c.p.conns, c.addr)
	}
	if c.conn != nil {
		_ = c.conn.Close() // nothing to do about it
	}
}

// Hangup closes the connections of the phone, as a phone that lost its network and came back.
func (p *Phone) Hangup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.close()
	}
}

func (p *Phone) acceptAll() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted(conn)
	}
}

func (p *Phone) accepted(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	if p.closed {
		_ = conn.Close() // too late
		return
	}
	c := p.newConn(a)
	c.conn = conn
	p.group.Go(c.read)
	p.group.Go(c.write)
}

func (p *Phone) readPackets() {
	b := make([]byte, 65536)
	for {
		n, from, err := p.socket.ReadFrom(b)
		if err != nil {
			if p.ctx.Err() != nil {
				return
			}
			p.T.Logf("%s: %v", p.Name, err)
			continue
		}
		if len(strings.Trim(string(b[:n]), "\r\n\x00")) == 0 {
			continue // keepalive
		}
		a, _ := netip.ParseAddrPort(from.String())
		m, err := sip.Parse(b[:n])
		if err != nil {
			p.unparsed(string(b[:n]), err)
			continue
		}
		p.receive(m, hop{proto: transport.UDP, addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())})
	}
}

func (p *Phone) unparsed(text string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.raw {
		p.failf("received what is no SIP message: %v\n%q", err, text)
	}
	p.odd.put(text)
}

// receive is the way in of every message.
func (p *Phone) receive(m sip.Message, from hop) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.raw {
		p.odd.put(m.String())
		return
	}
	switch m := m.(type) {
	case *sip.Request:
		p.request(m, from)
	case *sip.Response:
		p.response(m, from)
	}
}

// Raw turns the phone into a bare socket: it answers and checks nothing, all it receives waits for Receive.
func (p *Phone) Raw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raw = true
}

// Send sends a text as it is to Phone.Proxy over Phone.Proto; lines that end in a bare newline get CRLF. Responses to it wait for
// Receive.
func (p *Phone) Send(text string) { p.SendTo(p.Proxy, text) }

// SendTo is Send to another address.
func (p *Phone) SendTo(addr, text string) {
	p.T.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		p.T.Fatalf("%s: send to %q: %v", p.Name, addr, err)
		return
	}
	if !strings.Contains(text, "\r\n") {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sentRaw = true
	p.transmit(hop{proto: p.Proto, addr: a}, []byte(text))
}

// Receive waits for a message that the phone did not deal with itself: everything after Raw, else responses to what Send sent.
// It fails the test when none comes in Phone.Wait.
func (p *Phone) Receive() string {
	p.T.Helper()
	s, ok := p.odd.get(p.Wait, p.ctx.Done())
	if !ok {
		p.T.Fatalf("%s: received nothing in %v", p.Name, p.Wait)
	}
	return s
}

// Silence waits and fails the test when a message for Receive comes meanwhile.
func (p *Phone) Silence(d time.Duration) {
	p.T.Helper()
	if s, ok := p.odd.get(d, p.ctx.Done()); ok {
		p.T.Fatalf("%s: received in what should be silence:\n%s", p.Name, s)
	}
}
