package sipproxy

import (
	"errors"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

var (
	errScheme   = errors.New("sipproxy: unsupported URI scheme")
	errSecurity = errors.New("sipproxy: sips over a hop that is not secure")
	errBarred   = errors.New("sipproxy: refused by a hook")
	errFlow     = errors.New("sipproxy: flow gone")
)

// IsLocal reports whether u names this server: one of Names with any port, or a listen or advertised address.
func (s *Server) IsLocal(u sip.URI) bool {
	if u.Scheme == "sip" && u.Params == "" { // nearly always
		return s.IsLocalHost(u.Host, u.Port, 0)
	}
	if !u.IsSIP() {
		return false
	}
	p := transport.Proto(0)
	switch {
	case u.IsSIPS():
		p = transport.TLS
	case u.Params != "":
		p, _ = transport.ParseProto(u.Transport())
	}
	return s.IsLocalHost(u.Host, u.Port, p)
}

// IsLocalHost is IsLocal for the parts of a URI: a name or literal address, a port, 0 for the default one, and a transport protocol, 0 for any.
func (s *Server) IsLocalHost(host string, port uint16, p transport.Proto) bool {
	host = strings.TrimSuffix(host, ".") // an absolute name (RFC 1034 §3.1) is the same one
	for _, n := range s.Names {
		if strings.EqualFold(n, host) {
			return true
		}
	}
	if s.trs == nil { // before Ready
		return false
	}
	return s.trs.IsLocal(host, port, p)
}

// preroute does route information preprocessing (§16.4): it fills in URI, Routes and own. A malformed Route is a 400.
func (r *Request) preroute() error {
	r.URI = r.Request.URI
	if r.Has("Route") {
		routes, err := r.AppendRoutes(make([]sip.NameAddr, 0, 1)) // mostly it is ours alone
		if err != nil {
			return err
		}
		r.Routes, r.came = routes, len(routes)
	}
	if n := len(r.Routes); n > 0 && r.URI.Params.Has("lr") && r.srv.IsLocal(r.URI) {
		// A strict router upstream put our Record-Route into the Request-URI: the last Route is what it replaced.
		r.own = append(r.own, sip.NameAddr{URI: r.URI})
		r.URI = r.Routes[n-1].URI
		r.Routes = r.Routes[:n-1]
		r.strict = true
	}
	r.unmaddr()
	n := 0
	for n < len(r.Routes) && r.srv.IsLocal(r.Routes[n].URI) {
		n++
	}
	if own := r.Routes[:n:n]; len(r.own) == 0 {
		r.own = own // no copy
	} else {
		r.own = append(r.own, own...)
	}
	r.Routes = r.Routes[n:]
	return nil
}

// unmaddr takes an maddr that is ours off the Request-URI, with the port and transport that led here (§16.4).
func (r *Request) unmaddr() {
	if r.URI.Params == "" {
		return
	}
	maddr, ok := r.URI.Params.Get("maddr")
	if !ok {
		return
	}
	at := r.URI
	at.Host = maddr
	if !r.srv.IsLocal(at) {
		return
	}
	r.URI = r.URI.WithoutParam("maddr").WithoutParam("transport")
	r.URI.Port = 0
}

// unroute takes from a copy of the request what preroute consumed.
func (r *Request) unroute(c *sip.Request) {
	if r.routesDropped {
		c.Del("Route")
		return
	}
	pops := len(r.own)
	if r.strict {
		pops--
		dropLastRoute(c)
	}
	c.PopValues("Route", pops)
}

func dropLastRoute(c *sip.Request) {
	n := 0
	for range c.Values("Route") {
		n++
	}
	i := 0
	c.DelFunc("Route", func(string) bool { i++; return i == n })
}
