package registrar

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// read checks a REGISTER and takes from it what is to be stored.
func (g *Registrar) read(r *sipproxy.Request, reg *registration) error {
	to, err := sip.ParseNameAddr(r.Get("To")) // as Request.To, which would copy it twice more
	if err != nil || !isSIP(&to.URI) {
		return errTo
	}
	user, domain, ok := g.userAt(r.Server(), &to.URI)
	if !ok || len(g.Domains) > 1 && g.elsewhere(r.URI.Host, to.URI.Host) {
		return errNobody
	}
	reg.name(user, domain)
	reg.callID, reg.now, reg.limit = r.CallID(), time.Now(), cmp.Or(g.Contacts, 10)
	reg.cseq, _, _ = r.CSeq()
	reg.server, reg.copies = r.Server(), r.Mode() == sipproxy.Stateless
	if err := g.readContacts(r, reg); err != nil {
		return err
	}
	if reg.star {
		return checkStar(r, reg)
	}
	if len(reg.contacts) == 0 {
		return nil
	}
	if r.Has("Path") {
		if err := g.readPath(r, reg); err != nil {
			return err
		}
	}
	return g.readOutbound(r, reg)
}

func (g *Registrar) readContacts(r *sipproxy.Request, reg *registration) error {
	c, more, err := r.Contact()
	switch {
	case err == sip.ErrNoField:
		return nil
	case more:
		return g.readAll(r, reg)
	case err != nil:
		return errContact
	}
	return g.addContact(r, reg, c)
}

//go:noinline
func (g *Registrar) readAll(r *sipproxy.Request, reg *registration) error {
	for c, err := range r.Contacts() {
		switch {
		case err != nil:
			return errContact
		case !c.Star && len(reg.contacts) > 2*reg.limit+spareRemovals:
			return errTooMany
		}
		if err := g.addContact(r, reg, &c); err != nil {
			return err
		}
	}
	return nil
}

func (g *Registrar) addContact(r *sipproxy.Request, reg *registration, c *sip.NameAddr) error {
	if c.Star {
		reg.star = true
		return nil
	}
	reg.contacts = append(reg.contacts, Binding{})
	return g.readContact(r, reg, c)
}

// elsewhere: the request is for another of our domains than the one the user belongs to (§10.3 step 5). Addresses and further names of the server stand for all of them.
func (g *Registrar) elsewhere(host, to string) bool {
	asked, is := g.named(host), g.named(to)
	return asked != "" && is != "" && !strings.EqualFold(asked, is)
}

// spareRemovals is how many contacts beyond twice the limit one REGISTER may name, all of them old ones it removes but the first few: comparing each
// with each must not cost without bound.
const spareRemovals = 8

// checkStar: "*" stands alone and removes (§10.3 step 6).
func checkStar(r *sipproxy.Request, reg *registration) error {
	n := 0
	for range r.Values("Contact") {
		n++
	}
	if expires, err := r.Expires(); n > 1 || err != nil || expires != 0 {
		return errStar
	}
	return nil
}

// readContact fills the last of reg.contacts.
func (g *Registrar) readContact(r *sipproxy.Request, reg *registration, c *sip.NameAddr) error {
	if c.URI.Host == "" && c.URI.Opaque == "" { // the latter is what other URIs than SIP's have
		return errContact
	}
	if g.ownAOR(r, reg.aor, &c.URI) {
		return errLoop
	}
	b := &reg.contacts[len(reg.contacts)-1]
	life, err := g.readParams(r, b, c.Params)
	if err != nil {
		return err
	}
	b.Contact, b.CallID, b.CSeq, b.Updated, b.Expires = c.URI, reg.callID, reg.cseq, reg.now, reg.now.Add(life)
	b.UserAgent = r.Get("User-Agent")
	if len(b.UserAgent) > maxUserAgent {
		b.UserAgent = b.UserAgent[:maxUserAgent]
	}
	if len(b.Contact.User)+len(b.Contact.Password)+len(b.Contact.Host)+len(b.Contact.Params)+len(b.Contact.Headers)+len(b.Contact.Opaque)+
		len(b.Params)+len(b.CallID) > g.bindingBytes() {
		return errBytes
	}
	if g.Flags != nil {
		b.Flags = g.Flags(r)
	}
	if r.Source.Proto.Reliable() || g.Received != nil && g.Received(r) {
		b.Received, b.Local = r.Source, r.Local
	}
	return nil
}

// ownAOR: the contact is the address-of-record itself, or a GRUU of it: calls would come back here for ever (RFC 5627 §5.1). With a port it may be a phone on
// this machine, and header fields it asks for may lead calls elsewhere (RFC 4475 §3.3.14).
func (g *Registrar) ownAOR(r *sipproxy.Request, aor AOR, u *sip.URI) bool {
	if u.Port != 0 || u.User == "" || u.Headers != "" || !u.IsSIP() {
		return false
	}
	if _, literal := u.IP(); literal {
		return false
	}
	w, ok := g.want(r.Server(), *u)
	return ok && w.aor == aor
}

// maxUserAgent is where a User-Agent is cut off.
const maxUserAgent = 256

func (g *Registrar) bindingBytes() int { return cmp.Or(g.BindingBytes, 4096) }

// readParams takes from a contact what stands in its parameters, and tells how long it is to be kept: by its expires parameter, else the Expires
// field, else the default (§10.2.1.1, §10.3 step 7).
func (g *Registrar) readParams(r *sipproxy.Request, b *Binding, p sip.Params) (life time.Duration, err error) {
	b.Q = 1
	if n, ok := onlyExpires(p); ok {
		return g.bounded(time.Duration(n) * time.Second)
	}
	var c contactParams
	if p != "" {
		c.read(p)
	}
	if life, err = g.bounded(g.wanted(r, &c)); err != nil {
		return 0, err
	}
	return life, g.readOthers(r, b, &c, p)
}

const expiresParam = ";expires="

// onlyExpires reads parameters as most phones write them.
func onlyExpires(p sip.Params) (seconds uint32, ok bool) {
	if len(p) <= len(expiresParam) || len(p) > len(expiresParam)+9 || p[:len(expiresParam)] != expiresParam {
		return 0, false
	}
	for i := len(expiresParam); i < len(p); i++ {
		if p[i] < '0' || p[i] > '9' {
			return 0, false
		}
		seconds = seconds*10 + uint32(p[i]-'0')
	}
	return seconds, true
}

// readOthers is what of a contact stands in its parameters, but its life.
func (g *Registrar) readOthers(r *sipproxy.Request, b *Binding, c *contactParams, p sip.Params) error {
	if c.q.there {
		var ok bool
		if b.Q, ok = quality(c.q.text); !ok {
			return errQ
		}
	}
	if c.regID.there {
		n, err := strconv.ParseUint(c.regID.text, 10, 31)
		if err != nil || n == 0 {
			return errRegID
		}
		b.RegID = uint32(n)
	}
	if c.instance.there {
		b.Instance = unquoted(c.instance.text)
		b.GRUU = g.GRUU && b.Instance != "" && supports(r, "gruu")
	}
	if c.methods.there {
		b.Methods = methods(unquoted(c.methods.text))
	}
	b.Params = p
	if c.ours {
		b.Params = withoutOurs(p)
	}
	return nil
}

// supports: the phone does, and all the more what it requires of us.
func supports(r *sipproxy.Request, tag string) bool {
	return r.HasToken("Supported", tag) || r.HasToken("Require", tag)
}

// wanted is the life that a REGISTER names for a contact.
func (g *Registrar) wanted(r *sipproxy.Request, c *contactParams) time.Duration {
	if c.expires.there {
		if n, err := strconv.ParseUint(c.expires.text, 10, 32); err == nil {
			return time.Duration(n) * time.Second
		}
		return time.Hour // what a malformed value counts as
	}
	if n, err := r.Expires(); err == nil {
		return time.Duration(n) * time.Second
	}
	return max(g.least(), cmp.Or(g.DefaultExpires, time.Hour))
}

// bounded is the life that the registrar grants.
func (g *Registrar) bounded(life time.Duration) (time.Duration, error) {
	least := g.least()
	switch {
	case life == 0:
		return 0, nil
	case life >= least:
	case g.RaiseExpires:
		life = least
	case life < time.Hour: // no registrar may refuse an hour (§10.3 step 7)
		return 0, &refusal{code: 423, min: least}
	}
	return min(life, cmp.Or(g.MaxExpires, 24*time.Hour)), nil
}

func (g *Registrar) least() time.Duration { return cmp.Or(g.MinExpires, time.Minute) }

// quality reads a qvalue (§25.1): 0 to 1 with decimals, nothing that strconv would also take.
func quality(s string) (q float32, ok bool) {
	if s == "" || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' || len(s) > 10 {
		return 0, false
	}
	n, unit := uint64(s[0]-'0'), uint64(1)
	for i := 2; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n, unit = n*10+uint64(s[i]-'0'), unit*10
	}
	return float32(float64(n) / float64(unit)), n <= unit
}

func methods(v string) (list []sip.Method) {
	for m := range strings.SplitSeq(v, ",") {
		if m = strings.TrimSpace(m); m != "" {
			list = append(list, sip.Method(m))
		}
	}
	return list
}

func unquoted(v string) string {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// readPath is the registrar's part of RFC 3327 §5.3. What the Path leads to is where the phone is, not the proxy that sent the REGISTER on.
func (g *Registrar) readPath(r *sipproxy.Request, reg *registration) error {
	if g.TrustPath != nil && !g.TrustPath(r) {
		return errStranger
	}
	var path []string
	bytes := 0
	for p := range r.Values("Path") {
		if n, err := sip.ParseNameAddr(p); err != nil || !n.URI.IsSIP() {
			return errPath
		}
		path, bytes = append(path, p), bytes+len(p)
	}
	if bytes > g.bindingBytes() {
		return errBytes
	}
	if path == nil {
		return nil
	}
	reg.path = path
	for i := range reg.contacts {
		b := &reg.contacts[i]
		b.Path, b.Received, b.Local = path, noAddr, noAddr
	}
	return nil
}
