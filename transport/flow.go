package transport

import "github.com/sipkit/sipkit/sip"

// A Flow is a way to a peer: a UDP socket and a remote address, or one connection (RFC 5626 §3). It is a comparable value; the zero Flow goes nowhere.
type Flow struct {
	link any // stub
}

func (f Flow) IsZero() bool { return f == Flow{} }

// Local is the address of our side: for a wildcard listener the address the packet came to; for an outbound connection the listener whose address we advertise.
func (f Flow) Local() Addr  { panic("stub") }
func (f Flow) Remote() Addr { panic("stub") }
func (f Flow) Proto() Proto { panic("stub") }

// SentBy is what to write into Via, Record-Route and Contact for this flow: the advertised host (IPv6 in brackets) and port.
func (f Flow) SentBy() (host string, port uint16) { panic("stub") }

// Listener identifies the listening socket behind the flow by its position in Layer.Addrs; -1 when none.
func (f Flow) Listener() int { panic("stub") }

// Alive is false once a connection is closed; always true for UDP while the socket is open.
func (f Flow) Alive() bool { panic("stub") }

// A Sink is told, at most once per Send and never from inside it, when what was sent could not be delivered: a failed dial or handshake,
// a broken connection. It runs on a goroutine of the transport and must not block.
type Sink interface {
	SendFailed(err error)
}

// Send prints m and sends it. It never blocks: UDP goes out at once or at the end of the batch in progress, stream data is queued (bounded; ErrQueueFull).
// An immediate error is returned and not reported to sink. On reliable transports a non-nil sink stays remembered until Forget, and is told when
// the connection breaks. For UDP, ICMP errors reach Handler.Unreachable.
func (f Flow) Send(m sip.Message, sink Sink) error { panic("stub") }

// SendRaw sends bytes that are a whole message (a kept response), or a keepalive.
func (f Flow) SendRaw(b []byte, sink Sink) error { panic("stub") }

// Forget drops a sink given to Send.
func (f Flow) Forget(sink Sink) { panic("stub") }

// Close closes a connection; nothing for UDP.
func (f Flow) Close() error { panic("stub") }
