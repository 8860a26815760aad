package registrar

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A registration is what one REGISTER asks for.
type registration struct {
	aor      AOR
	callID   string
	cseq     uint32
	contacts []Binding
	zero     []bool // expires=0, beside contacts
	star     bool
	outbound bool
	now      time.Time
	limit    int
	result   []Binding // what the last apply made
}

// refusal is a code and reason on the way out of a Store.Update.
type refusal struct {
	code   int
	reason string
	min    time.Duration // Min-Expires
}

func (e *refusal) Error() string { return "registrar: " + strconv.Itoa(e.code) + " " + e.reason }

func (g *Registrar) refuse(r *sipproxy.Request, e *refusal) *sip.Response {
	res := r.Reply(e.code)
	if e.reason != "" {
		res.Reason = e.reason
	}
	if e.min > 0 {
		res.Set("Min-Expires", seconds(e.min))
	}
	return res
}

// register is §10.3.
func (g *Registrar) register(ctx context.Context, r *sipproxy.Request) *sip.Response {
	if res := unsupported(r); res != nil {
		return res
	}
	reg, err := g.read(r)
	if err == nil {
		if len(reg.contacts) == 0 && !reg.star {
			return g.fetch(ctx, r, reg)
		}
		err = g.store(ctx, reg)
	}
	var no *refusal
	if errors.As(err, &no) {
		return g.refuse(r, no)
	}
	if err != nil {
		return g.unavailable(ctx, r, err)
	}
	return g.accepted(r, reg)
}

// unsupported refuses extensions in Require that a registrar does not know (§10.3 step 2).
func unsupported(r *sipproxy.Request) *sip.Response {
	var res *sip.Response
	for tag := range r.Requires() {
		switch strings.ToLower(tag) {
		case "path", "outbound", "gruu", "":
			continue
		}
		if res == nil {
			res = r.Reply(420)
		}
		res.Add("Unsupported", tag)
	}
	return res
}

// read checks a REGISTER and takes from it what is to be stored.
func (g *Registrar) read(r *sipproxy.Request) (*registration, error) {
	to, err := r.To()
	if err != nil || !to.URI.IsSIP() {
		return nil, &refusal{code: 400, reason: "Bad Request (To)"}
	}
	aor, ok := g.AOR(r.Server(), to.URI)
	if !ok {
		return nil, &refusal{code: 404}
	}
	reg := &registration{aor: aor, callID: r.CallID(), now: time.Now(), limit: cmp.Or(g.Contacts, 10)}
	reg.cseq, _, _ = r.CSeq()
	for c, err := range r.Contacts() {
		if err != nil {
			return nil, &refusal{code: 400, reason: "Bad Request (Contact)"}
		}
		if c.Star {
			reg.star = true
			continue
		}
		if err := g.readContact(r, reg, c); err != nil {
			return nil, err
		}
	}
	if reg.star {
		return reg, checkStar(r, reg)
	}
	return reg, g.readOutbound(r, reg)
}

// checkStar: "*" stands alone and removes (§10.3 step 6).
func checkStar(r *sipproxy.Request, reg *registration) error {
	n := 0
	for range r.Values("Contact") {
		n++
	}
	expires, err := r.Expires()
	if n > 1 || len(reg.contacts) > 0 || err != nil || expires != 0 {
		return &refusal{code: 400, reason: "Bad Request (Contact: *)"}
	}
	return nil
}

func (g *Registrar) readContact(r *sipproxy.Request, reg *registration, c sip.NameAddr) error {
	if !c.URI.IsSIP() && !strings.EqualFold(c.URI.Scheme, "tel") || c.URI.IsSIP() && c.URI.Host == "" {
		return &refusal{code: 400, reason: "Bad Request (Contact scheme)"}
	}
	q, err := quality(c.Params)
	if err != nil {
		return err
	}
	life, err := g.life(r, c.Params)
	if err != nil {
		return err
	}
	b := Binding{
		Contact: c.URI, Q: q, CallID: reg.callID, CSeq: reg.cseq, Updated: reg.now, Expires: reg.now.Add(life),
		UserAgent: r.Get("User-Agent"),
		Params:    c.Params.Without("q").Without("expires"),
		Methods:   methods(c.Params),
		Instance:  unquoted(c.Params, "+sip.instance"),
	}
	if id, ok := c.Params.Get("reg-id"); ok {
		n, err := strconv.ParseUint(id, 10, 31)
		if err != nil || n == 0 {
			return &refusal{code: 400, reason: "Bad Request (reg-id)"}
		}
		b.RegID = uint32(n)
	}
	for p := range r.Values("Path") {
		b.Path = append(b.Path, p)
	}
	b.GRUU = g.GRUU && b.Instance != "" && r.HasToken("Supported", "gruu")
	if g.Flags != nil {
		b.Flags = g.Flags(r)
	}
	if len(b.Path) == 0 && (r.Source.Proto.Reliable() || g.Received != nil && g.Received(r)) {
		b.Received, b.Local = r.Source, r.Local
	}
	reg.contacts = append(reg.contacts, b)
	reg.zero = append(reg.zero, life == 0)
	return nil
}

// life is how long a contact is to be kept: its expires parameter, else the Expires field, else the default (§10.2.1.1, §10.3 step 7).
func (g *Registrar) life(r *sipproxy.Request, p sip.Params) (time.Duration, error) {
	life := cmp.Or(g.DefaultExpires, time.Hour)
	if v, ok := p.Get("expires"); ok {
		life = time.Hour // what a malformed value counts as
		if n, err := strconv.ParseUint(v, 10, 32); err == nil {
			life = time.Duration(n) * time.Second
		}
	} else if n, err := r.Expires(); err == nil {
		life = time.Duration(n) * time.Second
	}
	if least := cmp.Or(g.MinExpires, time.Minute); life > 0 && life < least && life < time.Hour {
		if !g.RaiseExpires {
			return 0, &refusal{code: 423, min: least}
		}
		life = least
	}
	return min(life, cmp.Or(g.MaxExpires, 24*time.Hour)), nil
}

func quality(p sip.Params) (float32, error) {
	v, ok := p.Get("q")
	if !ok {
		return 1, nil
	}
	q, err := strconv.ParseFloat(v, 32)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0, &refusal{code: 400, reason: "Bad Request (q)"}
	}
	return float32(q), nil
}

func methods(p sip.Params) (list []sip.Method) {
	v := unquoted(p, "methods")
	if v == "" {
		return nil
	}
	for m := range strings.SplitSeq(v, ",") {
		list = append(list, sip.Method(strings.TrimSpace(m)))
	}
	return list
}

func unquoted(p sip.Params, name string) string {
	v, _ := p.Get(name)
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// readOutbound is the registrar's part of RFC 5626 §6: reg-id counts for phones that support outbound and whose first hop does.
func (g *Registrar) readOutbound(r *sipproxy.Request, reg *registration) error {
	wants := r.HasToken("Supported", "outbound") || r.HasToken("Require", "outbound")
	for i := range reg.contacts {
		b := &reg.contacts[i]
		if b.RegID == 0 {
			continue
		}
		if b.Instance == "" || !wants {
			b.RegID = 0
			continue
		}
		if len(reg.contacts) > 1 && !reg.zero[i] {
			return &refusal{code: 400, reason: "Bad Request (several contacts with reg-id)"}
		}
		if !firstHopDoes(r) {
			return &refusal{code: 439}
		}
		if len(b.Path) == 0 {
			b.Received, b.Local = r.Source, r.Local
		}
		reg.outbound = true
	}
	return nil
}

// firstHopDoes: the phone reached us without a proxy between, or the first proxy marked its Path with ob.
func firstHopDoes(r *sipproxy.Request) bool {
	n := 0
	for range r.Vias() {
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

func (g *Registrar) store(ctx context.Context, reg *registration) (err error) {
	g.wait(ctx, func() {
		err = g.Store.Update(ctx, reg.aor, func(old []Binding) (next []Binding, err error) {
			next, err = reg.apply(old)
			reg.result = next
			return next, err
		})
	})
	return err
}

// apply makes the new bindings from the old, all of them or none (§10.3 step 7). It may run more than once.
func (reg *registration) apply(old []Binding) ([]Binding, error) {
	if reg.star {
		for i := range old {
			if reg.stale(&old[i]) {
				return nil, errOrder
			}
		}
		return nil, nil
	}
	next := slices.Clone(old)
	for i := range reg.contacts {
		c := &reg.contacts[i]
		if o := find(old, c); o >= 0 && reg.stale(&old[o]) {
			return nil, errOrder
		}
		at := find(next, c)
		switch {
		case at >= 0 && reg.zero[i]:
			next = slices.Delete(next, at, at+1)
		case at >= 0:
			next[at] = *c
		case !reg.zero[i]:
			next = append(next, *c)
		}
	}
	if len(next) > reg.limit && len(next) > len(old) {
		return nil, errTooMany
	}
	return next, nil
}

var (
	errOrder   = &refusal{code: 400, reason: "Bad Request (CSeq not higher)"}
	errTooMany = &refusal{code: 403, reason: "Forbidden (too many contacts)"}
)

// stale: the binding was made by the same Call-ID with the same or a later CSeq.
func (reg *registration) stale(b *Binding) bool { return b.CallID == reg.callID && reg.cseq <= b.CSeq }
