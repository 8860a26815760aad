package rtprelay

import "net/netip"

// scope is the kind of network an address belongs to.
type scope uint8

const (
	scopePublic scope = iota
	scopeLoopback
	scopeLink
	scopePrivate
)

var (
	sharedSpace = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10) // RFC 6598
	thisNetwork = netip.PrefixFrom(netip.AddrFrom4([4]byte{0, 0, 0, 0}), 8)     // RFC 1122
	reserved    = netip.PrefixFrom(netip.AddrFrom4([4]byte{240, 0, 0, 0}), 4)   // RFC 1112, broadcast included
)

func scopeOf(a netip.Addr) scope {
	switch {
	case a.IsLoopback():
		return scopeLoopback
	case a.IsLinkLocalUnicast():
		return scopeLink
	case a.IsPrivate(), sharedSpace.Contains(a):
		return scopePrivate
	}
	return scopePublic
}

// permitted says whether packets may be sent to dst, for a party whose SIP message came from source.
func (e *Embedded) permitted(dst netip.AddrPort, source netip.Addr) bool {
	a := dst.Addr()
	if !a.IsValid() || dst.Port() == 0 || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" ||
		thisNetwork.Contains(a) || reserved.Contains(a) || e.ownPort(dst) || !e.reachable(a, source) {
		return false
	}
	return e.Allow == nil || e.Allow(a, source)
}

// reachable: a stranger must not use the relay to reach into inner networks.
func (e *Embedded) reachable(a, source netip.Addr) bool {
	s := scopeOf(a)
	if s == scopePublic || (source.IsValid() && s == scopeOf(source)) {
		return true
	}
	for _, p := range e.Networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (e *Embedded) ownPort(dst netip.AddrPort) bool {
	for _, n := range e.set.nets {
		if n.owns(dst) {
			return true
		}
	}
	return false
}
