package transport

import "net/netip"

// A Proto is a SIP transport protocol. The numbers are those Kamailio writes into Contact aliases.
type Proto uint8

const (
	UDP  Proto = 1
	TCP  Proto = 2
	TLS  Proto = 3
	SCTP Proto = 4
	WS   Proto = 5
	WSS  Proto = 6
)

// String is the URI spelling ("udp"), ViaName the Via spelling ("UDP"); ParseProto reads either, without case.
func (p Proto) String() string          { panic("stub") }
func (p Proto) ViaName() string         { panic("stub") }
func ParseProto(s string) (Proto, bool) { panic("stub") }
func (p Proto) Reliable() bool          { panic("stub") } // all but UDP
func (p Proto) Secure() bool            { panic("stub") } // TLS, WSS
// DefaultPort is 5060, 5061, 80 or 443.
func (p Proto) DefaultPort() uint16 { panic("stub") }

// An Addr is a protocol and an address. It is comparable; the zero value means "none".
type Addr struct {
	Proto    Proto
	AddrPort netip.AddrPort
	Name     string // host name the address was resolved from: TLS server name, WebSocket Host; "" for literals
}

func (a Addr) IsZero() bool   { return a == Addr{} }
func (a Addr) String() string { panic("stub") } // "udp:192.0.2.1:5060"
// ParseAddr reads "udp:192.0.2.1:5060"; protocol and port may be left out (udp, its default port).
func ParseAddr(s string) (Addr, error) { panic("stub") }
