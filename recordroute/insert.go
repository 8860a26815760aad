package recordroute

import (
	"strconv"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// insert puts our Record-Route on top (§16.6 step 4): one, or two when the message leaves by another socket, transport or address family
// than it came, so that either neighbour sees an address it can reach (RFC 5658).
func (rt Router) insert(b *sipproxy.Branch) {
	in, out := b.Of.Flow, b.Flow
	tail := rt.tail(b)
	if !same(in, out) {
		b.Request.Prepend("Record-Route", rt.value(b, in, tail))
	}
	b.Request.Prepend("Record-Route", rt.value(b, out, tail))
}

func same(a, b transport.Flow) bool {
	if a.Proto() != b.Proto() {
		return false
	}
	ah, ap := a.SentBy()
	bh, bp := b.SentBy()
	return ah == bh && ap == bp
}

// tail is what both values of a double Record-Route share: parameters and their signature.
func (rt Router) tail(b *sipproxy.Branch) string {
	t := ";lr"
	if rt.LrOn {
		t = ";lr=on"
	}
	ftag := b.Of.FromTag()
	if rt.FromTag && ftag != "" {
		t += ";ftag=" + ftag
	}
	params := ""
	if rt.Params != nil {
		params = string(rt.Params(b))
	}
	return t + params + ";s=" + b.Of.Server().Sign(purpose, b.Of.CallID(), ftag, params)
}

func (rt Router) value(b *sipproxy.Branch, f transport.Flow, tail string) string {
	scheme, param := "sip:", ""
	switch {
	case b.Request.URI.IsSIPS() && f.Proto().Secure():
		scheme = "sips:" // §16.6 step 4
	case f.Proto() != transport.UDP:
		param = ";transport=" + f.Proto().String()
	}
	host, port := f.SentBy()
	if port != 0 {
		host += ":" + strconv.Itoa(int(port))
	}
	return "<" + scheme + host + param + tail + ">"
}

// purpose keeps these signatures apart from others of the same keys.
const purpose = "record-route"

type trust uint8

const (
	unsigned trust = iota
	signed
	forged
)

// vouched looks at the signature of our Route: it covers the Call-ID, the tag of the dialog's first request, which is by now either of the
// two, and our own parameters.
func vouched(r *sipproxy.Request) trust {
	t := unsigned
	for _, own := range r.OwnRoutes() {
		sig, ok := own.URI.Params.Get("s")
		if !ok {
			return unsigned
		}
		if !genuine(r, own.URI.Params, sig) {
			return forged
		}
		t = signed
	}
	return t
}

func genuine(r *sipproxy.Request, p sip.Params, sig string) bool {
	s := r.Server()
	params := string(private(p))
	return s.Verify(sig, purpose, r.CallID(), r.FromTag(), params) ||
		s.Verify(sig, purpose, r.CallID(), r.ToTag(), params)
}

// private is the part of the parameters that Router.Params wrote: peers may reorder none of it (§16.6 step 4, §12.1.1).
func private(p sip.Params) sip.Params {
	return p.Without("lr").Without("transport").Without("ftag").Without("s").Without("maddr")
}
