package nat

import (
	"net/netip"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// Private reports whether nobody outside its own network reaches a.
func Private(a netip.Addr) bool {
	a = a.Unmap()
	if !a.Is4() {
		return a.IsPrivate() || a.IsLinkLocalUnicast()
	}
	switch b := a.As4(); b[0] {
	case 10: // RFC 1918
		return true
	case 100:
		return b[1]&0xc0 == 64 // 100.64.0.0/10, RFC 6598
	case 169:
		return b[1] == 254 // RFC 3927
	case 172:
		return b[1]&0xf0 == 16 // 172.16.0.0/12, RFC 1918
	case 192:
		return b[1] == 168 || b[1] == 0 && b[2] == 0 // RFC 1918; 192.0.0.0/24, RFC 6890 and RFC 7335
	}
	return false
}

// uriPort is the port a URI means when it names none.
func uriPort(u *sip.URI) uint16 {
	if u.Port != 0 {
		return u.Port
	}
	return uriProto(u).DefaultPort()
}

func uriProto(u *sip.URI) transport.Proto {
	if u.Params == "" && u.Scheme == "sip" { // nearly always
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

// A place is a host as a message names it, and its address when it is one.
type place struct {
	host    string
	ip      netip.Addr
	literal bool
}

// read reads a host, but not the one it has read last: most phones write the same into Via and Contact.
func (p *place) read(host string) {
	if host == p.host {
		return
	}
	p.host = host
	if p.ip, p.literal = sip.IPv4(host); !p.literal {
		p.ip, p.literal = sip.URI{Host: host}.IP()
	}
}
