package registrar

import (
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

var noAddr transport.Addr

// readOutbound is the registrar's part of RFC 5626 §6: reg-id counts for phones that support outbound and whose first hop does.
func (g *Registrar) readOutbound(r *sipproxy.Request, reg *registration) error {
	for i := range reg.contacts {
		b := &reg.contacts[i]
		if b.RegID == 0 {
			continue
		}
		if b.Instance == "" || !supports(r, "outbound") {
			b.RegID = 0
			continue
		}
		if b.Expires.After(reg.now) && reg.alive() > 1 {
			return errFlows
		}
		if !firstHopDoes(r) {
			return errFirstHop
		}
		if len(b.Path) == 0 {
			b.Received, b.Local = r.Source, r.Local
		}
		reg.outbound = true
	}
	return nil
}

// alive counts the contacts that are not removed.
func (reg *registration) alive() (n int) {
	for i := range reg.contacts {
		if reg.contacts[i].Expires.After(reg.now) {
			n++
		}
	}
	return n
}

// firstHopDoes: the phone reached us without a proxy between, or the first proxy marked its Path with ob.
func firstHopDoes(r *sipproxy.Request) bool {
	n := 0
	for range r.Values("Via") {
		n++
	}
	if n == 1 {
		return true
	}
	last := sip.NameAddr{}
	for p, err := range r.NameAddrs("Path") {
		if err == nil {
			last = p
		}
	}
	return last.URI.Params.Has("ob")
}
