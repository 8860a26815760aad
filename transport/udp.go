package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
)

const (
	maxDatagram = 65535
	// maxPayload is what fits an IPv4 datagram.
	maxPayload = 65507
	batchSize  = 32 // datagrams read at once
	slotCount  = 64 // datagrams that wait to be sent at once
)

// A packetIO reads and writes batches of datagrams on one socket. One goroutine reads, one at a time writes.
type packetIO interface {
	// read waits for datagrams and says how many came.
	read() (int, error)
	// datagram is the i-th of them; local is where it was sent to, on wildcard sockets.
	datagram(i int) (data []byte, from netip.AddrPort, local netip.Addr)
	// write sends slots from the first on and says how many went out before err, which is about the next one.
	write([]slot) (int, error)
	// failures reads what ICMP has told about earlier datagrams.
	// tell returns false to stop.
	failures(tell func(to netip.AddrPort, sent []byte, err error) bool)
	drops() uint64
	close() error // ends a read that waits
}

// A slot is a datagram that waits to be sent.
type slot struct {
	buf   []byte
	to    netip.AddrPort
	local source
}

// A udpSock is one UDP socket with its reader and its queue of datagrams to send.
type udpSock struct {
	end
	l  *Layer
	io packetIO

	mu      sync.Mutex
	pending atomic.Int32 // used slots
	slots   [slotCount]slot

	// The reader's, owned by its turn.
	guard
	i, n    int // next and end of the batch
	errs    int // errors in a row
	own     ownAddr
	sources sources
}

func (ln *listener) listenUDP(ctx context.Context) error {
	for range ln.l.cfg.Readers {
		pc, err := ln.packetConn(ctx)
		if err != nil {
			ln.close()
			return err
		}
		k := &udpSock{l: ln.l}
		k.loop, k.done = k.read, func() {}
		ln.bound(pc.LocalAddr()) // further sockets bind to the port the first one got
		if b, ok := pc.(interface{ SetReadBuffer(int) error }); ok {
			_ = b.SetReadBuffer(ln.l.cfg.RecvBuffer) // what the system allows
		}
		if k.io, err = newPacketIO(pc, ln); err != nil {
			_ = pc.Close()
			ln.close()
			return err
		}
		k.end = end{link: k, ln: ln, local: ln.addr}
		ln.socks = append(ln.socks, k)
		if !ln.reuse() {
			break
		}
	}
	return nil
}

// A reuser is a Net that can bind several sockets to one port.
type reuser interface {
	listenReuse(ctx context.Context, network, address string) (net.PacketConn, error)
}

func (ln *listener) reuse() bool {
	_, ok := ln.l.net.(reuser)
	return ok && ln.l.cfg.Readers > 1
}

func (ln *listener) packetConn(ctx context.Context) (net.PacketConn, error) {
	network, address := "udp6", ln.addr.AddrPort.String()
	if ln.addr.AddrPort.Addr().Is4() {
		network = "udp4"
	}
	if ln.reuse() {
		return ln.l.net.(reuser).listenReuse(ctx, network, address)
	}
	return ln.l.net.ListenPacket(ctx, network, address)
}

// read is the reader: it takes batches and serves them until the socket is closed or the turn is lost.
func (k *udpSock) read(t *turn) {
	for {
		for k.i < k.n {
			i := k.i
			k.i++ // before the call: whoever takes over goes on behind it
			if !k.datagram(t, i) {
				return
			}
		}
		if k.n > 0 {
			k.i, k.n = 0, 0
			k.l.release()
		}
		n, err := k.io.read()
		if err != nil && !k.recover(t, err) {
			return
		}
		if n > 0 {
			k.errs = 0
			k.l.Hold()
			k.i, k.n = 0, n
		}
	}
}

// recover deals with an error of read and reports whether to go on reading.
func (k *udpSock) recover(t *turn, err error) bool {
	var u *UnreachableError
	switch {
	case k.l.isClosed(), errors.Is(err, net.ErrClosed):
		return false
	case errors.As(err, &u):
		return k.failed(t, u.To, u.Sent, err)
	}
	if k.errs++; k.errs%32 == 0 { // something that does not go away: do not spin
		k.l.log.Warn("reading fails", "listen", k.ln.addr.String(), "error", err)
		select {
		case <-time.After(10 * time.Millisecond):
		case <-k.l.ctx.Done():
		}
	}
	return k.failures(t)
}

// failures reports what the error queue of the socket holds.
func (k *udpSock) failures(t *turn) bool {
	k.io.failures(func(to netip.AddrPort, sent []byte, err error) bool {
		return k.failed(t, to, append([]byte(nil), sent...), err)
	})
	return !t.lost
}

func (k *udpSock) failed(t *turn, to netip.AddrPort, sent []byte, err error) bool {
	k.l.stats.unreachable.Add(1)
	t.enter()
	k.l.cfg.Handler.ServeUnreachable(sent, Addr{Proto: UDP, AddrPort: to}, err)
	return t.leave()
}

// datagram serves one datagram and reports whether the reader still owns the socket.
func (k *udpSock) datagram(t *turn, i int) bool {
	l := k.l
	data, from, local := k.io.datagram(i)
	f := Flow{end: &k.end, remote: from, local: k.source(from, local)}
	switch {
	case isKeepalive(data):
		l.stats.keepalives.Add(1)
		return true
	case data[0] <= 3 && l.cfg.NonSIP != nil && l.cfg.NonSIP(data, f):
		return true
	case len(data) > l.cfg.Limits.MessageBytes:
		l.stats.tooLarge.Add(1) // Valid answers 513
	}
	m, err := sip.Parse(data)
	if err != nil {
		l.stats.malformed.Add(1)
		return true
	}
	if m.Head().Trailing() > 0 {
		l.stats.trailing.Add(1)
	}
	return t.message(m, f, data, &k.sources)
}

// An ownAddr remembers the address of ours that the last datagram came to: mostly the next one comes there, too.
type ownAddr struct {
	ip     netip.Addr
	source source
}

// source is the address from which to answer a datagram that came from from to local; local is invalid when the socket does not tell.
func (k *udpSock) source(from netip.AddrPort, local netip.Addr) source {
	switch {
	case !k.ln.wildcard:
		return source{}
	case !local.IsValid():
		return k.l.routes.source(from.Addr())
	case local != k.own.ip:
		k.own = ownAddr{local, sourceOf(local)}
	}
	return k.own.source
}

// isKeepalive: empty datagrams, CRLFs and the few zero bytes that phones send.
func isKeepalive(b []byte) bool {
	if len(b) > 4 {
		return false
	}
	for _, c := range b {
		if c != 0 && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// ---- sending

func (k *udpSock) send(f Flow, m sip.Message, raw []byte, _ Sink) error {
	k.mu.Lock()
	n := k.pending.Load()
	s := &k.slots[n]
	b := s.buf[:0]
	if m != nil {
		b = m.AppendTo(b)
	} else {
		b = append(b, raw...)
	}
	s.buf = b
	if len(b) > maxPayload {
		k.mu.Unlock()
		k.l.stats.tooLarge.Add(1)
		return ErrTooLarge
	}
	s.to = f.remote // one after the other: fewer copies
	s.local = f.local
	k.l.stats.sent.Add(1)
	if k.l.cfg.Tap != nil {
		k.l.tap(f, true, b)
	}
	// First pending, then held: a batch that ends meanwhile either sees the one or is seen in the other.
	k.pending.Store(n + 1)
	var err error
	if int(n+1) == slotCount || k.l.held.Load() <= 0 {
		err = k.flushLocked(true)
	}
	k.mu.Unlock()
	return err
}

func (k *udpSock) flush() {
	if k.pending.Load() == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = k.flushLocked(false)
}

// flushLocked sends every slot. A datagram that the system refuses is reported to the handler, or as the error when it is the last one and that is the
// caller's own.
func (k *udpSock) flushLocked(own bool) error {
	left := k.slots[:k.pending.Load()]
	if len(left) > 0 && k.l.cfg.BeforeSend != nil {
		k.l.cfg.BeforeSend()
	}
	for len(left) > 0 {
		n, err := k.io.write(left)
		left = left[n:]
		if err == nil {
			continue
		}
		if k.l.isClosed() || errors.Is(err, net.ErrClosed) {
			k.pending.Store(0)
			return ErrClosed
		}
		if errors.Is(err, ErrQueueFull) {
			k.pending.Store(0)
			k.l.stats.sendFailed.Add(uint64(len(left)))
			return err
		}
		k.l.stats.sendFailed.Add(1)
		if own && len(left) == 1 {
			k.pending.Store(0)
			return err
		}
		k.refused(&left[0], err)
		left = left[1:]
	}
	k.pending.Store(0)
	return nil
}

// refused tells the handler, elsewhere because the caller holds locks.
func (k *udpSock) refused(s *slot, err error) {
	to, sent := Addr{Proto: UDP, AddrPort: s.to}, append([]byte(nil), s.buf...)
	k.l.spawn(func() { k.l.cfg.Handler.ServeUnreachable(sent, to, err) })
}

// ---- link

func (k *udpSock) alive() bool   { return !k.l.isClosed() }
func (k *udpSock) forget(Sink)   {}
func (k *udpSock) pin(int32)     {}
func (k *udpSock) release()      { k.l.handOver(&k.guard) }
func (k *udpSock) reading() bool { return k.inCall() }
func (k *udpSock) close() error  { return nil }
