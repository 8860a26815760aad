package transport

import (
	"net/netip"
	"unique"

	"github.com/sipkit/sipkit/sip"
)

// A Flow is a way to a peer: a UDP socket and a remote address, or one connection (RFC 5626 §3). It is a small comparable
// value; the zero Flow goes nowhere. Its methods are safe for concurrent use.
type Flow struct {
	end *end
	// remote is the peer of a UDP flow. On a connection it is invalid, except in a flow made by ReplyFlow:
	// there it is where to connect when the connection is gone (§18.2.2).
	remote netip.AddrPort
	// local is our address when the socket is bound to the wildcard address, else none.
	local source
}

// An end is our end of a flow, embedded in a UDP socket or a connection. Flows compare by its address.
type end struct {
	link
	ln     *listener // of a connection: accepting, or the one whose address is advertised; nil: none
	local  Addr      // as Flow.Local tells it, with the listener's port
	remote Addr      // of a connection
}

// A link is what a flow runs over: a UDP socket or a connection.
type link interface {
	alive() bool
	// send sends m, or raw when m is nil.
	send(f Flow, m sip.Message, raw []byte, sink Sink) error
	forget(Sink)
	pin(n int32)
	release()
	reading() bool
	close() error
}

// A source is an address of ours that we send from, in one word: flows are kept and copied everywhere. The zero source is none.
type source struct{ ip unique.Handle[netip.Addr] }

func sourceOf(ip netip.Addr) source {
	if !ip.IsValid() {
		return source{}
	}
	return source{unique.Make(ip)}
}

func (s source) isNone() bool { return s == source{} }

// addr is invalid when s is none.
func (s source) addr() netip.Addr {
	if s.isNone() {
		return netip.Addr{}
	}
	return s.ip.Value()
}

// A Sink is told, at most once per Send and never from inside it, when what was sent could not be delivered: a failed dial or handshake,
// a broken connection. It runs on a goroutine of the transport and must not block. Its dynamic type must be comparable.
type Sink interface {
	SendFailed(err error)
}

// IsZero reports whether f is the zero Flow.
func (f Flow) IsZero() bool { return f.end == nil }

// Local is the address of our side: for a wildcard listener the address the packet came to; for an outbound connection the listener whose address we advertise.
//
//go:noinline
func (f Flow) Local() Addr {
	if f.end == nil {
		return Addr{}
	}
	if f.local.isNone() {
		return f.end.local
	}
	own := &f.end.local
	return Addr{Proto: own.Proto, AddrPort: netip.AddrPortFrom(f.local.addr(), own.AddrPort.Port())}
}

// Remote is the address of the peer.
//
//go:noinline
func (f Flow) Remote() Addr {
	switch {
	case f.end == nil:
		return Addr{}
	case f.end.local.Proto == UDP:
		return Addr{Proto: UDP, AddrPort: f.remote}
	}
	return f.end.remote
}

// Proto is the protocol of the flow; 0 for the zero Flow.
func (f Flow) Proto() Proto {
	if f.end == nil {
		return 0
	}
	return f.end.local.Proto
}

// SentBy is what to write into Via, Record-Route and Contact for this flow: the advertised host (IPv6 in brackets) and port.
func (f Flow) SentBy() (host string, port uint16) {
	if f.end == nil {
		return "", 0
	}
	if ln := f.end.ln; ln != nil && ln.host != "" {
		return ln.host, ln.port
	}
	return f.sentBy()
}

// sentBy is SentBy where no listener says it once and for all.
func (f Flow) sentBy() (host string, port uint16) {
	a := f.Local().AddrPort
	if ln := f.end.ln; ln != nil {
		if s, ok := ln.l.hosts[a.Addr()]; ok {
			return s, a.Port()
		}
	}
	return hostString(a.Addr()), a.Port()
}

// Listener identifies the listening socket behind the flow by its position in Layer.Addrs; -1 when none.
func (f Flow) Listener() int {
	if f.end == nil || f.end.ln == nil {
		return -1
	}
	return f.end.ln.index
}

// Alive is false once a connection is closed; always true for UDP while the socket is open.
func (f Flow) Alive() bool { return f.end != nil && f.end.alive() }

// Send prints m and sends it. It never blocks: UDP goes out at once or at the end of the batch in progress, stream data is queued (bounded; ErrQueueFull).
// An immediate error is returned and not reported to sink. On reliable transports a non-nil sink stays remembered until Forget, and is told when
// the connection breaks. For UDP, ICMP errors reach Handler.ServeUnreachable.
func (f Flow) Send(m sip.Message, sink Sink) error {
	if f.end == nil {
		return ErrNoAddress
	}
	return f.end.send(f, m, nil, sink)
}

// SendRaw sends bytes that are a whole message (a kept response), or a keepalive. b is not kept.
func (f Flow) SendRaw(b []byte, sink Sink) error {
	if f.end == nil {
		return ErrNoAddress
	}
	return f.end.send(f, nil, b, sink)
}

// Forget drops a sink given to Send.
func (f Flow) Forget(sink Sink) {
	if f.end != nil && sink != nil {
		f.end.forget(sink)
	}
}

// Pin keeps a connection from being closed for idleness until Unpin has been called as often: somebody still has to answer on it. It
// does nothing for UDP.
func (f Flow) Pin() {
	if f.end != nil {
		f.end.pin(1)
	}
}

// Unpin ends what Pin began.
func (f Flow) Unpin() {
	if f.end != nil {
		f.end.pin(-1)
	}
}

// Release gives the reading of the flow's socket or connection to another goroutine. It is for a Handler that is about to wait inside
// ServeMessage, called on the goroutine that reads, about a message that came by f; elsewhere it does no harm.
func (f Flow) Release() {
	if f.end != nil {
		f.end.release()
	}
}

// Reading reports whether the flow's socket or connection is in a Handler call: whether there is something to Release.
func (f Flow) Reading() bool { return f.end != nil && f.end.reading() }

// Close closes a connection, without waiting for what is queued; nothing for UDP.
func (f Flow) Close() error {
	if f.end == nil {
		return nil
	}
	return f.end.close()
}
