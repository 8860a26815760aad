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
	if v := r.Get("Contact"); reg.granted(r, list, v) {
		res.Add("Contact", v)
	} else {
		g.addContacts(res, r, list, reg.now)
	}
	res.Add("Date", g.date.at(reg.now)) // there is none, so less code than Set
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

//go:noinline
func (g *Registrar) addContacts(res *sip.Response, r *sipproxy.Request, list []Binding, now time.Time) {
	for i := range list {
		x := &list[i]
		res.AddFunc("Contact", func(b []byte) []byte { return g.appendContact(b, r, x, now) })
	}
}

// granted reports whether the bindings are what the REGISTER asked for and v, the value of its Contact, is what appendContact would write, octet for
// octet. Phones mostly get what they ask for, and then have their own words back.
func (reg *registration) granted(r *sipproxy.Request, list []Binding, v string) bool {
	if len(list) != 1 || len(reg.contacts) != 1 || &list[0] != &reg.contacts[0] {
		return false
	}
	x := &list[0]
	c, _, _ := r.Contact()
	life, plain := onlyExpires(c.Params)
	return plain && c.Params[len(expiresParam)] != '0' && x.Expires.Sub(reg.now) == time.Duration(life)*time.Second &&
		!showsReceived(x) && spelled(v, &x.Contact, c.Params)
}

// spelled reports whether v, which was read as u and params, is them as appendContact writes them. v has all their pieces, in this order, so whatever else it
// had, blanks, a display name, zeros before the port, would make it longer.
func spelled(v string, u *sip.URI, params sip.Params) bool {
	n := len("<sip:@>") + len(u.User) + len(u.Host) + len(u.Params) + len(params)
	if u.Port != 0 {
		n++
	}
	for port := u.Port; port != 0; port /= 10 {
		n++
	}
	return len(v) == n && v[0] == '<' && u.Scheme == "sip" && u.User != "" && u.Password == "" && u.Headers == ""
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
	b = append(b, expiresParam...)
	b = strconv.AppendInt(b, int64((x.Expires.Sub(now)+time.Second-1)/time.Second), 10)
	if showsReceived(x) {
		b = append(b, `;received="sip:`...)
		b = x.Received.AddrPort.AppendTo(b)
		b = append(b, '"')
	}
	if x.GRUU {
		b = g.appendGRUUs(b, r, x)
	}
	return b
}

// showsReceived: the 200 tells a phone behind a NAT where it was seen.
func showsReceived(x *Binding) bool {
	return x.Received.AddrPort.IsValid() && !x.Received.Proto.Reliable()
}
