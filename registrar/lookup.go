package registrar

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Lookup finds where u can be reached, as targets for ForwardInTurn: with q, Path, and the flow or source address the phone registered from. The contacts of one
// phone, its flows for instance, are one target (RFC 5626 §7): the one of the highest q, of those the freshest; the others are behind it in
// Else. With no target the response says why: 404 nobody is registered, 405 nobody takes the method, 480 registered but out of reach, 503 the
// store is away, NoReply for an ACK. For a sips URI only sips contacts count (§26.2.2).
func (g *Registrar) Lookup(ctx context.Context, r *sipproxy.Request, u sip.URI) ([]sipproxy.Target, *sip.Response) {
	l := lookups.Get().(*lookup)
	defer l.release()
	list, res := g.find(ctx, r, u, l)
	if res != nil {
		return nil, res
	}
	slices.SortStableFunc(list, func(a, b *Binding) int { return cmp.Or(cmp.Compare(b.Q, a.Q), b.Updated.Compare(a.Updated)) })
	targets := make([]sipproxy.Target, 0, len(list))
	var placed [8]int
	at := append(placed[:0], make([]int, len(list))...) // the target of each binding, from 1
	secure, insecure := u.IsSIPS(), 0
	for i, b := range list {
		if secure && !b.Contact.IsSIPS() {
			insecure++
			continue
		}
		t, ok := target(r.Server(), b)
		if !ok {
			continue
		}
		if b.Instance != "" {
			if at[i] = samePhone(list[:i], at, b); at[i] > 0 {
				main := &targets[at[i]-1]
				main.Else = append(main.Else, t)
				continue
			}
		}
		targets = append(targets, t)
		at[i] = len(targets)
	}
	if len(targets) == 0 {
		res := refused(r, 480)
		if insecure == len(list) && res != sipproxy.NoReply {
			res.Set("Warning", `380 sipkit "SIPS Not Allowed"`) // RFC 5630 §5.3
		}
		return nil, res
	}
	return targets, nil
}

// lookup is what the bindings of one Lookup are decoded into. What a Target has of them is copied, or text that stays.
type lookup struct {
	all  []Binding
	able []*Binding
}

var lookups = sync.Pool{New: func() any { return new(lookup) }}

func (l *lookup) release() {
	clear(l.all)
	clear(l.able)
	if cap(l.all) <= scratchBindings {
		lookups.Put(l)
	}
}

// find fills l.all.
func (l *lookup) find(ctx context.Context, g *Registrar, aor AOR) (err error) {
	if a, ok := g.Store.(Appender); ok && !g.waits() {
		l.all, err = a.AppendLookup(ctx, l.all[:0], aor)
		return err
	}
	all, err := g.bindings(ctx, aor)
	l.all = append(l.all[:0], all...) // those of the store are not ours to clear
	return err
}

// refused is what find and Lookup answer with. That nothing is said to an ACK must not look as if there were targets.
func refused(r *sipproxy.Request, code int) *sip.Response {
	if r.Method == sip.ACK {
		return sipproxy.NoReply
	}
	return r.Reply(code)
}

// samePhone returns which target of list, as at says, is that of the phone that b is of; 0: none.
func samePhone(list []*Binding, at []int, b *Binding) int {
	for i := range list {
		if at[i] > 0 && strings.EqualFold(list[i].Instance, b.Instance) {
			return at[i]
		}
	}
	return 0
}

// find returns the current bindings of u that take r's method, which are l's; otherwise the response says why not, as for Lookup.
func (g *Registrar) find(ctx context.Context, r *sipproxy.Request, u sip.URI, l *lookup) ([]*Binding, *sip.Response) {
	g.count.lookups.Add(1)
	w, ok := g.want(r.Server(), u)
	if !ok {
		g.count.notFound.Add(1)
		return nil, refused(r, 404)
	}
	if err := l.find(ctx, g, w.aor); err != nil {
		if r.Method == sip.ACK {
			return nil, sipproxy.NoReply
		}
		return nil, g.unavailable(ctx, r, err)
	}
	l.able = l.able[:0]
	var other *Binding // fits, but does not take the method
	for i := range l.all {
		switch b := &l.all[i]; {
		case !w.fits(b):
		case takes(b, r.Method):
			l.able = append(l.able, b)
		case other == nil:
			other = b
		}
	}
	switch {
	case len(l.able) > 0:
		return l.able, nil
	case other != nil:
		return nil, notAllowed(r, other)
	case w.instance != "":
		g.count.notFound.Add(1)
		return nil, refused(r, 480) // RFC 5627 §5.3: the instance is not registered now
	}
	g.count.notFound.Add(1)
	return nil, refused(r, 404)
}

func takes(b *Binding, m sip.Method) bool {
	return b.Methods == nil || m == sip.ACK || m == sip.CANCEL || // part of another request that was taken
		slices.Contains(b.Methods, m)
}

func notAllowed(r *sipproxy.Request, b *Binding) *sip.Response {
	res := r.Reply(405)
	for _, m := range b.Methods {
		res.Add("Allow", string(m))
	}
	return res
}

// target is a binding as somewhere to forward to; false: it is no address to forward to, or its connection is gone and there is no other way.
func target(s *sipproxy.Server, b *Binding) (t sipproxy.Target, ok bool) {
	if !b.Contact.IsSIP() {
		return t, false // mail, a telephone number: for Redirect
	}
	t.URI, t.Q = b.Contact, b.Q
	t.URI.Headers = "" // no Request-URI has them (§19.1.1), and what they ask to be added is not the caller's wish
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
