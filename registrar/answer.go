package registrar

import (
	"context"
	"strconv"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// fetch answers a REGISTER without Contact: all current bindings.
func (g *Registrar) fetch(ctx context.Context, r *sipproxy.Request, reg *registration) *sip.Response {
	list, err := g.bindings(ctx, reg.aor)
	if err != nil {
		return g.unavailable(ctx, r, err)
	}
	return g.success(r, reg, list)
}

func (g *Registrar) bindings(ctx context.Context, aor AOR) (list []Binding, err error) {
	g.wait(ctx, func() { list, err = g.Store.Lookup(ctx, aor) })
	return list, err
}

// accepted answers a REGISTER that was stored, with the bindings as they are now. The Update has them already: apply kept them.
func (g *Registrar) accepted(r *sipproxy.Request, reg *registration) *sip.Response {
	return g.success(r, reg, reg.result)
}

// success is the 200 of §10.3 step 8.
func (g *Registrar) success(r *sipproxy.Request, reg *registration, list []Binding) *sip.Response {
	res := r.Reply(200)
	now := time.Now()
	buf := make([]byte, 0, 160)
	for i := range list {
		buf = g.appendContact(buf[:0], r, &list[i], now)
		res.Add("Contact", string(buf))
	}
	res.SetDate(now)
	for p := range r.Values("Path") {
		res.Add("Path", p)
	}
	for _, u := range g.ServiceRoute {
		res.Add("Service-Route", "<"+u.String()+">")
	}
	if reg.outbound {
		res.Add("Require", "outbound")
		if g.FlowTimer > 0 {
			res.Set("Flow-Timer", seconds(g.FlowTimer))
		}
	}
	return res
}

// appendContact writes a binding as a Contact value of the 200.
func (g *Registrar) appendContact(b []byte, r *sipproxy.Request, x *Binding, now time.Time) []byte {
	b = append(b, '<')
	b = x.Contact.AppendTo(b)
	b = append(b, '>')
	b = append(b, x.Params...)
	if x.Q != 1 {
		b = append(b, ";q="...)
		b = strconv.AppendFloat(b, float64(x.Q), 'f', -1, 32)
	}
	b = append(b, ";expires="...)
	b = strconv.AppendInt(b, int64((x.Expires.Sub(now)+time.Second-1)/time.Second), 10)
	if !x.Received.IsZero() && !x.Received.Proto.Reliable() {
		b = append(b, `;received="sip:`...)
		b = x.Received.AddrPort.AppendTo(b)
		b = append(b, '"')
	}
	if x.GRUU {
		b = g.appendGRUUs(b, r, x)
	}
	return b
}
