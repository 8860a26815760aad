package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
)

type connState uint8

const (
	unused     connState = iota // outbound, nothing sent yet
	connecting                  // dialling or in the handshake; what is sent waits
	open
	ending // no more messages are taken; what is queued still goes out
	closed
)

// linger bounds the wait for a peer that reads slowly when we close in order.
const linger = time.Second

// A conn is one connection of a reliable protocol, accepted or dialled.
type conn struct {
	end
	guard
	l       *Layer
	stack   stack
	bind    netip.Addr // outbound: address to dial from; invalid: any
	inbound bool
	next    *conn        // in conns, same key
	used    atomic.Int64 // last traffic, since Layer.base
	pins    atomic.Int32 // see Flow.Pin
	known   atomic.Bool  // we dialled it, or a SIP message has come by it

	// The reader's, owned by its turn.
	nc      net.Conn // after the handshake
	buf     []byte
	r, w    int // unread bytes
	hint    int // of sip.Scan, for buf[r:w]
	holding bool
	pongs   int   // pings to be answered
	broken  error // framing is lost
	sources sources

	mu    sync.Mutex
	state connState
	wire  *wire
	out   net.Conn // where messages are written
	wait  []byte   // sent before the connection is open
	sinks map[Sink]struct{}
	reap  *time.Timer // of a connection that nobody used
}

// ---- link

func (c *conn) touch()              { c.used.Store(int64(time.Since(c.l.base))) }
func (c *conn) idle() time.Duration { return time.Since(c.l.base) - time.Duration(c.used.Load()) }
func (c *conn) flow() Flow          { return Flow{end: &c.end} }
func (c *conn) pin(n int32)         { c.pins.Add(n) }

func (c *conn) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state < ending
}

func (c *conn) release()      { c.l.handOver(&c.guard) }
func (c *conn) reading() bool { return c.inCall() }

func (c *conn) forget(s Sink) {
	c.mu.Lock()
	delete(c.sinks, s)
	c.mu.Unlock()
}

func (c *conn) close() error {
	c.l.spawn(func() { c.fail(ErrClosed) })
	return nil
}

func (c *conn) send(f Flow, m sip.Message, raw []byte, sink Sink) error {
	err := c.sendHere(f, m, raw, sink)
	if err != ErrClosed || !f.remote.IsValid() {
		return err
	}
	// An answer whose connection is gone (§18.2.2).
	to := Addr{Proto: c.remote.Proto, AddrPort: f.remote, Name: c.remote.Name}
	g, err := c.l.FlowTo(to, c.flow())
	if err != nil {
		return err
	}
	return g.end.send(g, m, raw, sink)
}

func (c *conn) sendHere(f Flow, m sip.Message, raw []byte, sink Sink) error {
	if m != nil {
		p := c.l.scratch.Get().(*[]byte)
		*p = m.AppendTo((*p)[:0])
		defer c.l.scratch.Put(p)
		raw = *p
	}
	if c.l.cfg.BeforeSend != nil {
		c.l.cfg.BeforeSend()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	queued := len(c.wait)
	switch {
	case c.state >= ending || c.l.isClosed():
		return ErrClosed
	case c.wire != nil:
		queued += c.wire.queued()
	}
	if queued > 0 && queued+len(raw) > c.l.cfg.QueueBytes {
		c.l.stats.queueFull.Add(1)
		return ErrQueueFull
	}
	if c.state == unused && !c.dial() {
		return ErrClosed
	}
	if sink != nil {
		if c.sinks == nil {
			c.sinks = make(map[Sink]struct{})
		}
		c.sinks[sink] = struct{}{}
	}
	c.touch()
	c.l.stats.sent.Add(1)
	if c.l.cfg.Tap != nil {
		c.l.tap(f, true, raw)
	}
	if c.state == connecting {
		c.wait = append(c.wait, raw...)
		return nil
	}
	_, _ = c.out.Write(raw) // never blocks; an error reaches fail, and so the sink
	return nil
}

// ---- life

// dial starts the connection's goroutine; c.mu is held.
func (c *conn) dial() bool {
	if c.reap != nil {
		c.reap.Stop()
		c.reap = nil
	}
	c.state = connecting
	return c.l.spawn(c.connect)
}

func (c *conn) connect() {
	ctx, cancel := context.WithTimeout(c.l.ctx, c.l.cfg.DialTimeout)
	defer cancel()
	local := ""
	if c.bind.IsValid() {
		local = c.bind.String()
	}
	nc, err := c.l.net.Dial(ctx, c.stack.network(), local, c.remote.AddrPort.String())
	if err != nil {
		c.l.stats.dialFailed.Add(1)
		c.l.Report(c.remote, false)
		c.fail(fmt.Errorf("transport: dial %s: %w", c.remote, err))
		return
	}
	cancel()
	c.serve(nc)
}

// serve does the handshake and starts the reader, whose goroutine is counted anew.
func (c *conn) serve(raw net.Conn) {
	c.mu.Lock()
	if c.state >= ending {
		c.mu.Unlock()
		_ = raw.Close()
		return
	}
	c.wire = newWire(c, raw)
	c.mu.Unlock()
	c.touch()
	ctx, cancel := context.WithTimeout(c.l.ctx, c.l.cfg.HandshakeTimeout)
	defer cancel()
	nc, err := c.stack.open(ctx, c.wire, c)
	if err != nil {
		c.l.stats.handshakeFailed.Add(1)
		if !c.inbound {
			c.l.Report(c.remote, false)
		}
		c.fail(fmt.Errorf("transport: handshake with %s: %w", c.remote, err))
		return
	}
	c.nc = nc
	if !c.opened(nc) {
		return
	}
	c.loop, c.done = c.read, func() {}
	c.l.running.Add(1)
	go c.l.own(&c.guard)
}

// opened sends what has waited.
func (c *conn) opened(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != connecting {
		return false
	}
	c.state, c.out = open, nc
	_ = nc.SetReadDeadline(time.Now().Add(c.l.cfg.Idle))
	if len(c.wait) > 0 {
		_, _ = nc.Write(c.wait)
		c.wait = nil
	}
	return true
}

// fail closes the connection at once and tells everybody who waits on it. It runs on a goroutine of the transport.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.state == closed {
		c.mu.Unlock()
		return
	}
	c.state = closed
	sinks := c.sinks
	c.sinks, c.wait = nil, nil
	w := c.wire
	if c.reap != nil {
		c.reap.Stop()
	}
	c.mu.Unlock()
	c.l.conns.remove(c)
	if w != nil {
		w.mu.Lock()
		w.failed = true
		w.mu.Unlock()
		_ = w.Conn.Close()
	}
	for s := range sinks {
		s.SendFailed(err)
	}
}

// shutdown closes the connection when what is queued has gone out, for at most linger. The reader sees the end and calls fail.
func (c *conn) shutdown() {
	c.mu.Lock()
	state, w, out := c.state, c.wire, c.out
	if state == open {
		c.state = ending
	}
	c.mu.Unlock()
	switch state {
	case open:
		if h, ok := out.(*tls.Conn); ok {
			_ = h.CloseWrite() // close_notify
		}
		w.finish(linger)
	case unused, connecting:
		c.fail(ErrClosed)
	}
}
