package recordroute

import (
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// insert puts our Record-Route on top (§16.6 step 4): one, or two when the message leaves by another socket, transport or address family
// than it came, so that either neighbour sees an address it can reach (RFC 5658).
func (rt *Router) insert(b *sipproxy.Branch) {
	in, out := b.Of.Flow, b.Flow
	inUser, outUser := rt.user(b, true), rt.user(b, false)
	tail, params := rt.tail(b)
	if !same(in, out) || inUser != "" || outUser != "" {
		b.Request.Prepend("Record-Route", rt.value(b, in, inUser, tail, params))
	}
	b.Request.Prepend("Record-Route", rt.value(b, out, outUser, tail, params))
}

func (rt *Router) user(b *sipproxy.Branch, in bool) string {
	if rt.User == nil {
		return ""
	}
	return rt.User(b, in)
}

func same(a, b transport.Flow) bool {
	if a.Proto() != b.Proto() {
		return false
	}
	ah, ap := a.SentBy()
	bh, bp := b.SentBy()
	return ah == bh && ap == bp
}

// tail is what both values of a double Record-Route share, and the part of it that Router.Params wrote.
func (rt *Router) tail(b *sipproxy.Branch) (tail, params string) {
	t := ";lr"
	if rt.LrOn {
		t = ";lr=on"
	}
	if ftag := b.Of.FromTag(); rt.FromTag && ftag != "" {
		t += ";ftag=" + ftag
	}
	if rt.Params != nil {
		params = string(rt.Params(b))
	}
	return t + params, params
}

func (rt *Router) value(b *sipproxy.Branch, f transport.Flow, user, tail, params string) string {
	var buf [160]byte
	v := append(buf[:0], '<')
	secure := f.Proto().Secure() && securely(b.Request)
	if secure {
		v = append(v, "sips:"...) // §16.6 step 4
	} else {
		v = append(v, "sip:"...)
	}
	if user != "" {
		v = append(append(v, user...), '@')
	}
	host, port := f.SentBy()
	v = append(v, host...)
	if port != 0 {
		v = strconv.AppendUint(append(v, ':'), uint64(port), 10)
	}
	if !secure && f.Proto() != transport.UDP {
		v = append(append(v, ";transport="...), f.Proto().String()...)
	}
	v = append(append(v, tail...), ";s="...)
	v = append(v, b.Of.Server().Sign(purpose, b.Of.CallID(), b.Of.FromTag(), params, user)...)
	return string(append(v, '>'))
}

// securely reports whether the request as it goes out asks for TLS on its way: in its Request-URI, or in the topmost Route (§16.6 step 4).
func securely(r *sip.Request) bool {
	if r.URI.IsSIPS() {
		return true
	}
	if r.Has("Route") {
		for n, err := range r.Routes() {
			return err == nil && n.URI.IsSIPS()
		}
	}
	return false
}

// purpose keeps these signatures apart from others of the same keys.
const purpose = "record-route"

type trust uint8

const (
	unsigned trust = iota
	signed
	forged
)

// Signed reports whether a request within a dialog came along our own Record-Route, signed for this dialog. For Router.Local: whatever else has a To tag may
// come from anybody.
func Signed(r *sipproxy.Request) bool { return vouched(r) == signed }

// vouched looks at the signature of our Route: it covers the Call-ID, the tag of the dialog's first request, which is by now either of the
// two, and our own parameters.
func vouched(r *sipproxy.Request) trust {
	t := unsigned
	own := r.OwnRoutes()
	for i := range own {
		sig, params, ok := signature(own[i].URI.Params)
		if !ok {
			return unsigned
		}
		if !genuine(r, sig, params, own[i].URI.User) {
			return forged
		}
		t = signed
	}
	return t
}

func genuine(r *sipproxy.Request, sig, params, user string) bool {
	s := r.Server()
	return s.Verify(sig, purpose, r.CallID(), r.FromTag(), params, user) ||
		s.Verify(sig, purpose, r.CallID(), r.ToTag(), params, user)
}

// signature gives the signature in the parameters of our Route, and the part of them that Router.Params wrote.
func signature(p sip.Params) (sig, params string, ok bool) {
	if sig, ok = strings.CutPrefix(string(p), ";lr;s="); ok && strings.IndexByte(sig, ';') < 0 {
		return sig, "", true // as nearly always
	}
	if sig, ok = p.Get("s"); !ok {
		return "", "", false
	}
	return sig, string(private(p)), true
}

// private is the part of the parameters that Router.Params wrote: peers may reorder none of it (§16.6 step 4, §12.1.1).
func private(p sip.Params) sip.Params {
	return p.Without("lr").Without("transport").Without("ftag").Without("s").Without("maddr")
}
