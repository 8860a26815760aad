package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/sipkit/sipkit/sip"
)

const (
	readSize  = 4 << 10  // of a connection's buffer at rest
	keepBytes = 16 << 10 // larger buffers are given back when empty
)

func (ln *listener) listenStream(ctx context.Context) error {
	st := stackOf(ln.addr.Proto)
	if err := st.server(ln.l.cfg); err != nil {
		return err
	}
	network := st.network() + "6" // IPv6 only; IPv4 has its own listener
	if ln.addr.AddrPort.Addr().Is4() {
		network = st.network() + "4"
	}
	a, err := ln.l.net.Listen(ctx, network, ln.addr.AddrPort.String())
	if err != nil {
		return err
	}
	ln.accept = a
	ln.bound(a.Addr())
	return nil
}

// accepted starts an accepted connection, if there is room.
func (l *Layer) accepted(ln *listener, nc net.Conn) {
	remote, ok := addrPortOf(nc.RemoteAddr())
	if !ok {
		_ = nc.Close()
		return
	}
	local := ln.addr
	if own, ok := addrPortOf(nc.LocalAddr()); ok && ln.wildcard {
		local.AddrPort = netip.AddrPortFrom(own.Addr(), local.AddrPort.Port())
	}
	c := &conn{l: l, stack: stackOf(local.Proto), inbound: true, state: connecting}
	c.end = end{link: c, ln: ln, local: local, remote: Addr{Proto: local.Proto, AddrPort: remote}}
	c.touch()
	if !l.conns.admit(c) {
		l.stats.connsRefused.Add(1)
		_ = nc.Close()
		return
	}
	if !l.spawn(func() { c.serve(nc) }) {
		_ = nc.Close()
	}
}

// read is the reader: it takes messages from the stream until it ends or the turn is lost.
func (c *conn) read(t *turn) {
	for {
		more := c.parse(t)
		if !more {
			return
		}
		err := c.broken
		if c.holding {
			c.holding = false
			c.l.release()
		}
		if err == nil {
			err = c.fill()
		}
		if err != nil {
			c.ended(err)
			return
		}
	}
}

// parse serves every whole message in the buffer. It is false when the turn is lost.
func (c *conn) parse(t *turn) bool {
	if c.r < c.w && !c.holding {
		c.holding = true
		c.l.Hold()
	}
	for c.r < c.w && c.broken == nil {
		m, n, ping, next, err := sip.Scan(c.buf[c.r:c.w], c.l.cfg.Limits, c.hint)
		raw := c.buf[c.r : c.r+n]
		// Before the call, because whoever takes over goes on behind it.
		c.r += n
		c.hint = next
		switch {
		case err != nil:
			c.l.stats.malformed.Add(1)
			c.broken = errFraming
			if m != nil && !t.message(m, c.flow(), raw, &c.sources) {
				return false
			}
		case m != nil:
			if !c.known.Load() {
				c.known.Store(true)
			}
			if !t.message(m, c.flow(), raw, &c.sources) {
				return false
			}
		case n > 0:
			c.l.stats.keepalives.Add(1)
			if ping {
				c.pongs++
			}
		default:
			c.pong()
			return true
		}
	}
	c.pong()
	return true
}

// pong answers the pings that were read (RFC 5626 §4.4.1), all with one write: who sends nothing else shall not cost a system call each 4 bytes.
func (c *conn) pong() {
	for c.pongs > 0 {
		n := min(c.pongs, len(crlfs)/2)
		_ = c.sendHere(c.flow(), nil, crlfs[:2*n], nil)
		c.pongs -= n
	}
}

var (
	errFraming = errors.New("transport: stream framing lost")
	crlfs      = bytes.Repeat([]byte("\r\n"), readSize/4) // as many as a buffer at rest holds pings
)

// fill reads more, moving or growing the buffer as needed.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
		if cap(c.buf) > keepBytes {
			c.buf = nil
		}
	}
	if c.r > 0 && c.w == len(c.buf) {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	if c.w == len(c.buf) {
		// Scan bounds what an unfinished message may take: one byte more than the limit shows it.
		limit := c.l.cfg.Limits.MessageBytes + 1
		size := min(max(2*len(c.buf), readSize), max(limit, readSize))
		if size == len(c.buf) {
			return errFraming
		}
		c.buf = append(make([]byte, 0, size), c.buf...)[:size]
	}
	for {
		n, err := c.nc.Read(c.buf[c.w:])
		if n > 0 {
			c.w += n
			c.touch()
			return nil
		}
		if err == nil {
			continue
		}
		if err = c.expired(err); err != nil {
			return err
		}
	}
}

// expired deals with the read deadline, which is set once an idle time and not once a read: nil when traffic has moved it.
func (c *conn) expired(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if c.pins.Load() > 0 {
		return c.extend(c.l.cfg.Idle)
	}
	return c.extend(c.l.cfg.Idle - c.idle())
}

// extend sets the read deadline, unless shutdown has set its own.
func (c *conn) extend(left time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left <= 0 || c.state != open {
		return ErrIdle
	}
	return c.nc.SetReadDeadline(time.Now().Add(left))
}

// ended closes the connection after the stream has ended.
func (c *conn) ended(err error) {
	if !errors.Is(err, errFraming) {
		c.fail(err)
		return
	}
	// What was answered still goes out. What the peer sends meanwhile is read and dropped: closing a socket
	// with unread bytes resets the connection and may destroy the answer on its way.
	c.shutdown()
	_, _ = io.CopyN(io.Discard, c.nc, 1<<20)
	c.fail(err)
}
