package registrar

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// success is the 200 of §10.3 step 8, with the bindings as they are now.
func (g *Registrar) success(r *sipproxy.Request, reg *registration, list []Binding) *sip.Response {
	res := r.Reply(200)
	for i := range list {
		x := &list[i]
		res.AddFunc("Contact", func(b []byte) []byte { return g.appendContact(b, r, x, reg.now) })
	}
	res.AddFunc("Date", func(b []byte) []byte { return append(b, g.date.at(reg.now)...) }) // there is none, so less code than Set
	for _, p := range reg.path {
		res.Add("Path", p) // RFC 3327 §5.3
	}
	for i := range g.ServiceRoute {
		res.AddFunc("Service-Route", func(b []byte) []byte {
			b = g.ServiceRoute[i].AppendTo(append(b, '<'))
			return append(b, '>')
		})
	}
	if reg.outbound {
		res.Add("Require", "outbound")
		if g.FlowTimer > 0 {
			res.Set("Flow-Timer", seconds(g.FlowTimer))
		}
	}
	return res
}

// dateText is the value of the Date field of the last second it was asked for.
type dateText struct{ last atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

func (d *dateText) at(t time.Time) string {
	last := d.last.Load()
	if last == nil || last.second != t.Unix() {
		last = &dated{t.Unix(), date(t.Unix())}
		d.last.Store(last)
	}
	return last.text
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
