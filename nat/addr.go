package nat

import (
	"net/netip"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

var (
	sharedSpace   = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10) // RFC 6598
	protocolSpace = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 0, 0}), 24)  // RFC 6890, RFC 7335
	thisNetwork   = netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 8)
)

// Private reports whether nobody outside its own network reaches a.
func Private(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLinkLocalUnicast() || a.Is4() && (sharedSpace.Contains(a) || protocolSpace.Contains(a))
}

// uriPort is the port a URI means when it names none.
func uriPort(u sip.URI) uint16 {
	if u.Port != 0 {
		return u.Port
	}
	return uriProto(u).DefaultPort()
}

func uriProto(u sip.URI) transport.Proto {
	if u.Params == "" && !u.IsSIPS() { // nearly always
		return transport.UDP
	}
	p, ok := transport.ParseProto(u.Transport())
	switch {
	case u.IsSIPS() && p == transport.WS:
		return transport.WSS
	case u.IsSIPS() && p != transport.WSS:
		return transport.TLS
	case ok:
		return p
	}
	return transport.UDP
}

// hostText is an address as it stands in a URI.
func hostText(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// viaIP is the sent-by host as an address.
func viaIP(v sip.Via) (netip.Addr, bool) {
	if ip, ok := sip.IPv4(v.Host); ok {
		return ip, true
	}
	return sip.URI{Host: v.Host}.IP()
}
