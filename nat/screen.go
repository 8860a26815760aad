package nat

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// A Screen keeps strangers from sending the proxy where they cannot go themselves: to loopback, to its own addresses, to multicast, broadcast and
// unspecified addresses, and to private networks. Who is in a private network, or on this machine, may name others there. It looks at destinations that messages
// decide (Contact as the Request-URI of later requests, aliases, foreign Routes), not at those the handler chose by Target.Next, Target.Flow or Target.URI (but see Names and Targets). The zero
// value works; a Screen must not be copied after use.
type Screen struct {
	// Allow are networks that may be named all the same: those of gateways and phones inside.
	Allow []netip.Prefix
	// Names looks at where host names in Target.URI lead, too, which is for their owners to say (contacts that were registered by name): not to loopback, unless the
	// request comes from there, nor to multicast or broadcast.
	Names bool
	// Targets looks at what the handler put into Target.URI, too: contacts from a location service that takes any.
	Targets bool

	once    sync.Once
	allow   bart.Lite
	refused atomic.Uint64
}

// Refused is the number of destinations that were refused.
func (s *Screen) Refused() uint64 { return s.refused.Load() }

// Middleware is a sipproxy.Middleware. It ends branches that must not go where they lead with 403, whatever name leads there, and refuses REGISTERs with
// such a Contact; a private Contact is what phones behind a NAT have.
func (s *Screen) Middleware(next sipproxy.Handler) sipproxy.Handler {
	check := s.check // bound once
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if res := s.refusal(r); res != nil {
			return res
		}
		r.OnSend(check)
		return next.ServeSIP(ctx, r)
	})
}

// Contacts is a sipproxy.Middleware for chains that answer REGISTER and forward nothing: it refuses as Middleware does those with a Contact where their sender
// cannot go himself.
func (s *Screen) Contacts(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if res := s.refusal(r); res != nil {
			return res
		}
		return next.ServeSIP(ctx, r)
	})
}

func (s *Screen) refusal(r *sipproxy.Request) *sip.Response {
	if r.Method != sip.REGISTER || s.contacts(r) {
		return nil
	}
	s.refused.Add(1)
	return r.Reply(403)
}

func (s *Screen) check(b *sipproxy.Branch) {
	t := &b.Target
	if !t.Flow.IsZero() || !t.Next.IsZero() || len(t.Path) > 0 {
		return
	}
	if !s.fits(b) {
		s.refused.Add(1)
		b.Refuse(403)
	}
}

func (s *Screen) fits(b *sipproxy.Branch) bool {
	if b.Target.URI.IsZero() || s.Targets {
		return s.Allows(b.Of, b.Remote)
	}
	if !s.Names {
		return true
	}
	to := leads(b.Target.URI)
	_, literal := to.IP()
	return literal || s.named(b, to)
}

// leads is a URI with the host that requests for it go to: an maddr stands in for it (RFC 3261 §19.1.1).
func leads(u sip.URI) sip.URI {
	if u.Params != "" {
		if m, _ := u.Params.Get("maddr"); m != "" {
			u.Host = m
		}
	}
	return u
}

// named looks at the address of a name that is not ours: our own lead back to us, where loops end.
func (s *Screen) named(b *sipproxy.Branch, to sip.URI) bool {
	ip := b.Remote.AddrPort.Addr().Unmap().WithZone("")
	switch {
	case !ip.IsValid() || b.Of.Server().IsLocal(to):
		return true
	case nobodys(ip):
		return false
	case ip.IsLoopback():
		return b.Of.Source.AddrPort.Addr().Unmap().IsLoopback() || s.allowed(ip)
	}
	return true
}

func (s *Screen) contacts(r *sipproxy.Request) bool {
	c, more, err := r.Contact()
	if more {
		return s.allContacts(r)
	}
	return err != nil || s.contact(r, c)
}

//go:noinline
func (s *Screen) allContacts(r *sipproxy.Request) bool {
	for c, err := range r.Contacts() {
		if err == nil && !s.contact(r, &c) {
			return false
		}
	}
	return true
}

// contact looks at one; what is malformed is the registrar's to refuse.
func (s *Screen) contact(r *sipproxy.Request, c *sip.NameAddr) bool {
	if c.Star {
		return true
	}
	if c.URI.Params != "" && c.URI.Params.Has("maddr") {
		return s.maddr(r, leads(c.URI))
	}
	ip, literal := c.URI.IP()
	if !literal || Private(ip) {
		return true
	}
	host := c.URI.Host
	if !ip.Is4() {
		ip = ip.Unmap().WithZone("")
		host = hostText(ip)
	}
	return s.allows(r, ip, host, uriPort(&c.URI), uriProto(&c.URI))
}

// maddr looks at a contact with an maddr. That a private address is what phones behind a NAT have, is true of hosts only.
//
//go:noinline
func (s *Screen) maddr(r *sipproxy.Request, to sip.URI) bool {
	ip, literal := to.IP()
	if !literal {
		return true // for named
	}
	ip = ip.Unmap().WithZone("")
	return s.allows(r, ip, hostText(ip), uriPort(&to), uriProto(&to))
}

// Allows reports whether the sender of r may have something sent to an address.
func (s *Screen) Allows(r *sipproxy.Request, to transport.Addr) bool {
	ip := to.AddrPort.Addr().Unmap().WithZone("")
	return ip.IsValid() && s.allows(r, ip, hostText(ip), to.AddrPort.Port(), to.Proto)
}

// allows is given how the address stands in a URI, too. It is neither mapped nor has it a zone.
func (s *Screen) allows(r *sipproxy.Request, ip netip.Addr, host string, port uint16, p transport.Proto) bool {
	if port == 0 || nobodys(ip) || r.Server().IsLocalHost(host, port, p) {
		return false
	}
	source := r.Source.AddrPort.Addr().Unmap()
	switch {
	case ip == source:
		return true
	case len(s.Allow) > 0 && s.allowed(ip):
		return true
	case ip.IsLoopback():
		return source.IsLoopback()
	case Private(ip):
		return Private(source) || source.IsLoopback()
	}
	return true
}

// nobodys: no single host has the address.
func nobodys(ip netip.Addr) bool {
	if !ip.Is4() {
		return ip.IsMulticast() || ip.IsUnspecified()
	}
	b := ip.As4()
	return b[0] == 0 || b[0]&0xf0 == 0xe0 || b == [4]byte{255, 255, 255, 255} // this network, multicast, broadcast
}

func (s *Screen) allowed(ip netip.Addr) bool {
	s.once.Do(func() {
		for _, p := range s.Allow {
			if p.Addr().Is4In6() && p.Bits() >= 96 {
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			s.allow.Insert(p.Masked())
		}
	})
	return s.allow.Contains(ip)
}
