package registrar

import (
	"context"
	"slices"
	"strconv"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Lookup finds where u can be reached, as targets for ForwardInTurn: with q, Path, and the flow or source address the phone registered from. The flows of one
// phone (RFC 5626) are one target, the freshest first, the others behind it in Else. With no target the response says why: 404 nobody is
// registered, 405 nobody takes the method, 480 registered but out of reach, 503 the store is away.
func (g *Registrar) Lookup(ctx context.Context, r *sipproxy.Request, u sip.URI) ([]sipproxy.Target, *sip.Response) {
	list, res := g.find(ctx, r, u)
	if res != nil {
		return nil, res
	}
	slices.SortStableFunc(list, func(a, b Binding) int { return b.Updated.Compare(a.Updated) })
	var targets []sipproxy.Target
	byInstance := make(map[string]int)
	for i := range list {
		t, ok := target(r.Server(), &list[i])
		if !ok {
			continue
		}
		if b := &list[i]; b.RegID != 0 {
			if at, seen := byInstance[b.Instance]; seen {
				targets[at].Else = append(targets[at].Else, t)
				continue
			}
			byInstance[b.Instance] = len(targets)
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return nil, r.Reply(480)
	}
	return targets, nil
}

// Bindings finds the current bindings of u that take r's method; otherwise the response says why not, as for Lookup.
func (g *Registrar) find(ctx context.Context, r *sipproxy.Request, u sip.URI) ([]Binding, *sip.Response) {
	g.count.lookups.Add(1)
	w, ok := g.want(r.Server(), u)
	if !ok {
		g.count.notFound.Add(1)
		return nil, r.Reply(404)
	}
	all, err := g.bindings(ctx, w.aor)
	if err != nil {
		return nil, g.unavailable(ctx, r, err)
	}
	var fit, able []Binding
	for i := range all {
		if !w.fits(&all[i]) {
			continue
		}
		fit = append(fit, all[i])
		if all[i].Methods == nil || r.Method == sip.ACK || r.Method == sip.CANCEL || slices.Contains(all[i].Methods, r.Method) {
			able = append(able, all[i])
		}
	}
	switch {
	case len(fit) == 0 && w.instance != "":
		g.count.notFound.Add(1)
		return nil, r.Reply(480) // RFC 5627 §5.3: the instance is not registered now
	case len(fit) == 0:
		g.count.notFound.Add(1)
		return nil, r.Reply(404)
	case len(able) == 0:
		res := r.Reply(405)
		for _, m := range fit[0].Methods {
			res.Add("Allow", string(m))
		}
		return nil, res
	}
	return able, nil
}

// target is a binding as somewhere to forward to; false: its connection is gone and there is no other way.
func target(s *sipproxy.Server, b *Binding) (sipproxy.Target, bool) {
	t := sipproxy.Target{URI: b.Contact, Q: b.Q}
	for _, p := range b.Path {
		n, err := sip.ParseNameAddr(p)
		if err != nil {
			return t, false
		}
		t.Path = append(t.Path, n.URI)
	}
	if len(t.Path) > 0 || b.Received.IsZero() {
		return t, true
	}
	if f, ok := s.FlowTo(b.Local, b.Received); ok {
		t.Flow = f
		return t, true
	}
	if !b.Received.Proto.Reliable() {
		t.Next = b.Received
		return t, true
	}
	// The connection is gone: what the phone says of itself may still do, unless it registered for this very flow or from behind a NAT.
	ip, ok := b.Contact.IP()
	return t, b.RegID == 0 && ok && ip == b.Received.AddrPort.Addr()
}

// Redirect answers with the contacts of the Request-URI's user, highest q first (§8.3): 302, or why there are none.
func (g *Registrar) Redirect(ctx context.Context, r *sipproxy.Request) *sip.Response {
	list, res := g.find(ctx, r, r.URI)
	if res != nil {
		return res
	}
	slices.SortStableFunc(list, func(a, b Binding) int {
		switch {
		case a.Q > b.Q:
			return -1
		case a.Q < b.Q:
			return 1
		}
		return 0
	})
	res = r.Reply(302)
	for i := range list {
		c := sip.NameAddr{URI: list[i].Contact}
		c.Params = c.Params.With("q", strconv.FormatFloat(float64(list[i].Q), 'f', -1, 32))
		res.Add("Contact", c.String())
	}
	return res
}
