package transport

import (
	"net/netip"

	"github.com/sipkit/sipkit/sip"
)

// A Flow is a way to a peer: a UDP socket and a remote address, or one connection (RFC 5626 §3). It is a small comparable
// value; the zero Flow goes nowhere. Its methods are safe for concurrent use.
type Flow struct {
	link link
	// remote is the peer of a UDP flow. On a connection it is invalid, except in a flow made by ReplyFlow:
	// there it is where to connect when the connection is gone (§18.2.2).
	remote netip.AddrPort
	// local is our address when the socket is bound to the wildcard address, else invalid.
	local netip.Addr
}

// A link is what a flow runs over: a UDP socket or a connection. Dynamic types are pointers, so flows compare.
type link interface {
	proto() Proto
	localAddr(f Flow) Addr
	remoteAddr(f Flow) Addr
	listening() *listener
	alive() bool
	// send sends m, or raw when m is nil.
	send(f Flow, m sip.Message, raw []byte, sink Sink) error
	forget(Sink)
	pin(n int32)
	release()
	reading() bool
	close() error
}

// A Sink is told, at most once per Send and never from inside it, when what was sent could not be delivered: a failed dial or handshake,
// a broken connection. It runs on a goroutine of the transport and must not block. Its dynamic type must be comparable.
type Sink interface {
	SendFailed(err error)
}

// IsZero reports whether f is the zero Flow.
func (f Flow) IsZero() bool { return f.link == nil }

// Local is the address of our side: for a wildcard listener the address the packet came to; for an outbound connection the listener whose address we advertise.
//
//go:noinline
func (f Flow) Local() Addr {
	if f.link == nil {
		return Addr{}
	}
	return f.link.localAddr(f)
}

// Remote is the address of the peer.
//
//go:noinline
func (f Flow) Remote() Addr {
	if f.link == nil {
		return Addr{}
	}
	return f.link.remoteAddr(f)
}

// Proto is the protocol of the flow; 0 for the zero Flow.
func (f Flow) Proto() Proto {
	if f.link == nil {
		return 0
	}
	return f.link.proto()
}

// SentBy is what to write into Via, Record-Route and Contact for this flow: the advertised host (IPv6 in brackets) and port.
func (f Flow) SentBy() (host string, port uint16) {
	if f.link == nil {
		return "", 0
	}
	ln := f.link.listening()
	if ln != nil && ln.advHost != "" {
		return ln.advHost, ln.advPort
	}
	if k, ok := f.link.(*udpSock); ok && !ln.wildcard {
		return ln.host, k.ln.addr.AddrPort.Port()
	}
	return f.sentBy(ln)
}

// sentBy is SentBy where no listener says it once and for all.
func (f Flow) sentBy(ln *listener) (host string, port uint16) {
	a := f.link.localAddr(f).AddrPort
	if ln == nil {
		return hostString(a.Addr()), a.Port()
	}
	return ln.sentBy(a)
}

// Listener identifies the listening socket behind the flow by its position in Layer.Addrs; -1 when none.
func (f Flow) Listener() int {
	if f.link == nil {
		return -1
	}
	if ln := f.link.listening(); ln != nil {
		return ln.index
	}
	return -1
}

// Alive is false once a connection is closed; always true for UDP while the socket is open.
func (f Flow) Alive() bool { return f.link != nil && f.link.alive() }

// Send prints m and sends it. It never blocks: UDP goes out at once or at the end of the batch in progress, stream data is queued (bounded; ErrQueueFull).
// An immediate error is returned and not reported to sink. On reliable transports a non-nil sink stays remembered until Forget, and is told when
// the connection breaks. For UDP, ICMP errors reach Handler.ServeUnreachable.
func (f Flow) Send(m sip.Message, sink Sink) error {
	if f.link == nil {
		return ErrNoAddress
	}
	return f.link.send(f, m, nil, sink)
}

// SendRaw sends bytes that are a whole message (a kept response), or a keepalive. b is not kept.
func (f Flow) SendRaw(b []byte, sink Sink) error {
	if f.link == nil {
		return ErrNoAddress
	}
	return f.link.send(f, nil, b, sink)
}

// Forget drops a sink given to Send.
func (f Flow) Forget(sink Sink) {
	if f.link != nil && sink != nil {
		f.link.forget(sink)
	}
}

// Pin keeps a connection from being closed for idleness until Unpin has been called as often: somebody still has to answer on it. It
// does nothing for UDP.
func (f Flow) Pin() {
	if f.link != nil {
		f.link.pin(1)
	}
}

// Unpin ends what Pin began.
func (f Flow) Unpin() {
	if f.link != nil {
		f.link.pin(-1)
	}
}

// Release gives the reading of the flow's socket or connection to another goroutine. It is for a Handler that is about to wait inside
// ServeMessage, called on the goroutine that reads, about a message that came by f; elsewhere it does no harm.
func (f Flow) Release() {
	if f.link != nil {
		f.link.release()
	}
}

// Reading reports whether the flow's socket or connection is in a Handler call: whether there is something to Release.
func (f Flow) Reading() bool { return f.link != nil && f.link.reading() }

// Close closes a connection, without waiting for what is queued; nothing for UDP.
func (f Flow) Close() error {
	if f.link == nil {
		return nil
	}
	return f.link.close()
}
