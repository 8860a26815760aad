package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/nat"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/auth"
)

// handler is the routing logic. The names on the right are those of the route blocks of Kamailio's default configuration. CANCEL, copies
// and ACKs to failures need no line here: the engine sees to them.
func (p *proxy) handler() sipproxy.Handler {
	return sipproxy.Chain{
		p.flood.Middleware,       // REQINIT: no more requests than a phone has reason for
		p.sanity.Middleware,      // REQINIT: scanners get silence, OPTIONS for us 200
		nat.Keep,                 // NATDETECT: phones learn how often to send keepalives
		p.registers,              // NATDETECT, AUTH, REGISTRAR: what follows is for calls
		p.screen.Middleware,      // NATDETECT: nobody sends us where he cannot go himself
		p.contacts,               // NATDETECT: Contact aliases as Kamailio has them
		p.calls.Middleware,       // accounting
		p.media,                  // MANAGE_BRANCH, MANAGE_REPLY, MANAGE_FAILURE: media through a relay
		p.calling.Withhold,       // WITHINDLG: nobody else sees credentials for us
		p.router.Middleware,      // WITHINDLG, record routing, no preloaded routes
		p.registering.Middleware, // AUTH: 401
		p.calling.Middleware,     // AUTH: 407
		p.own.Middleware,         // AUTH: users are who they say
	}.ThenFunc(p.route)
}

// registers takes REGISTERs for us past what is for calls. Those that follow a Route, or are said to be in a dialog, go the long way.
func (p *proxy) registers(next sipproxy.Handler) sipproxy.Handler {
	chain := sipproxy.Chain{p.screen.Contacts}
	if p.users != nil {
		chain = append(chain, p.registering.Middleware, p.own.Middleware)
	}
	register := chain.Then(p.registrar)
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if r.Method != sip.REGISTER || len(r.Routes) > 0 || len(r.OwnRoutes()) > 0 || r.InDialog() || r.URI.Params.Has("maddr") {
			return next.ServeSIP(ctx, r)
		}
		if r.Mode() == sipproxy.Stateful && !p.forUs(&r.URI) { // accept lets none but those for us go without a transaction
			return next.ServeSIP(ctx, r)
		}
		return register.ServeSIP(ctx, r)
	})
}

// route is where requests outside dialogs arrive, from callers who are who they say.
func (p *proxy) route(ctx context.Context, r *sipproxy.Request) *sip.Response {
	switch {
	case r.Method == sip.ACK: // of no call that we know
		return nil
	case !p.forUs(&r.URI), r.URI.Params.Has("maddr"): // SIPOUT; an maddr of ours has been taken off (§16.4), another one decides (§16.5)
		return p.foreign(ctx, r)
	case r.Method == sip.REGISTER: // REGISTRAR
		return p.registrar.ServeSIP(ctx, r)
	case r.Method == sip.PUBLISH, r.Method == sip.SUBSCRIBE && isMailbox(r): // PRESENCE
		return p.presence(ctx, r)
	case number(r.URI) == "":
		return r.Reply(484)
	}
	uri := p.dialled(r)
	if rule, ok := p.numbers.Load().rule(number(uri)); ok { // PSTN
		return p.phoneNetwork(ctx, r, rule, number(uri))
	}
	if !p.forUs(&uri) { // an alias leads elsewhere
		return r.Forward(ctx, sipproxy.Target{URI: uri})
	}
	return p.location(ctx, r, uri) // LOCATION
}

// foreign relays to other domains, for users of ours only: no open relay.
func (p *proxy) foreign(ctx context.Context, r *sipproxy.Request) *sip.Response {
	if !p.mayCallOut(ctx, r) {
		return r.Reply(403)
	}
	return r.Forward(ctx)
}

// phoneNetwork sends a dialled number to the gateway its rule names. It costs money, so strangers may not.
func (p *proxy) phoneNetwork(ctx context.Context, r *sipproxy.Request, to rule, number string) *sip.Response {
	if to.deny || !p.mayCallOut(ctx, r) {
		return r.Reply(403)
	}
	return r.Forward(ctx, sipproxy.Target{URI: to.dial(number)})
}

// presence is for SUBSCRIBE to a mailbox, which the voicemail server knows, and for PUBLISH, which nobody takes unless config.local does.
func (p *proxy) presence(ctx context.Context, r *sipproxy.Request) *sip.Response {
	switch {
	case r.Method == sip.SUBSCRIBE && !p.voicemail.IsZero():
		return r.Forward(ctx, sipproxy.Target{URI: p.mailbox(r.URI, 0)})
	case p.c.local != nil:
		return p.c.local.ServeSIP(ctx, r)
	}
	return r.Reply(404)
}

// dialled is the Request-URI after the caller's speed dials and our aliases. A telephone number is a user of our first domain (RFC 3261 §19.1.6).
func (p *proxy) dialled(r *sipproxy.Request) sip.URI {
	n, uri := p.numbers.Load(), r.URI
	if !uri.IsSIP() {
		uri = sip.URI{Scheme: "sip", User: sip.EscapeUser(number(uri)), Host: p.c.domain()}
	}
	if from, err := r.From(); err == nil && len(n.speed) > 0 {
		caller, _ := p.registrar.AOR(r.Server(), from.URI)
		if to, ok := n.speed.Resolve(caller, uri); ok {
			uri = to
		}
	}
	if key, ok := p.registrar.AOR(r.Server(), uri); ok && len(n.aliases) > 0 && !registrar.IsGRUU(uri) {
		user, domain := cutLast(string(key), '@')
		if to, ok := n.aliases.Resolve(sip.URI{User: sip.EscapeUser(user), Host: domain}); ok {
			uri = to
		}
	}
	if r.URI.IsSIPS() && uri.IsSIP() { // what leads elsewhere leads there as securely (RFC 5630 §5.3)
		uri.Scheme = "sips"
	}
	return uri
}

// location rings the phones of a user, those of the highest q first. Calls that nobody takes go to voicemail.
func (p *proxy) location(ctx context.Context, r *sipproxy.Request, uri sip.URI) *sip.Response {
	tried := []sip.URI{uri}
	res := p.ring(ctx, r, uri)
	for res.Is(300, 301, 302, 305) && p.c.redirects != "pass" { // MANAGE_FAILURE: no 3xx of a phone goes on unseen
		next, ok := p.redirected(res, tried)
		if !ok {
			res = r.Reply(480)
			break
		}
		uri, tried = next, append(tried, next)
		res = p.ring(ctx, r, uri)
	}
	if p.takesMessages(r, res) { // TOVOICEMAIL
		return r.Forward(ctx, sipproxy.Target{URI: p.mailbox(uri, res.Code)})
	}
	return res
}

// ring forwards to where a user is registered.
func (p *proxy) ring(ctx context.Context, r *sipproxy.Request, uri sip.URI) *sip.Response {
	targets, res := p.registrar.Lookup(ctx, r, uri)
	if res != nil {
		return res
	}
	for i := range targets {
		targets[i].Ring = p.c.ring
	}
	return r.ForwardInTurn(ctx, targets...)
}

// redirected is the user of ours that a 3xx prefers of those not tried yet, by a sips URI if the request had one, and by none if not (RFC 5630 §5.3). Elsewhere only
// the owner of the phone could call, and he is not the caller.
func (p *proxy) redirected(res *sip.Response, tried []sip.URI) (next sip.URI, ok bool) {
	if p.c.redirects != "follow" || len(tried) > maxRedirects {
		return next, false
	}
	best := -1.0
	for c, err := range res.Contacts() {
		if err != nil || c.Star || c.URI.User == "" || c.URI.IsSIPS() != tried[0].IsSIPS() || !p.forUs(&c.URI) || slices.ContainsFunc(tried, c.URI.Equal) {
			continue
		}
		if q := preference(c); q > best { // of equal ones the first
			best, next = q, c.URI
		}
	}
	return next, best >= 0
}

// preference is the q of a contact (§16.6, §20.10): 1 without one, 0 where it is no number.
func preference(c sip.NameAddr) float64 {
	text, ok := c.Params.Get("q")
	if !ok {
		return 1
	}
	if q, err := strconv.ParseFloat(text, 64); err == nil && q > 0 {
		return q
	}
	return 0
}

// maxRedirects bounds chains of forwarding phones.
const maxRedirects = 4

// takesMessages: the user is offline, busy, or does not answer.
func (p *proxy) takesMessages(r *sipproxy.Request, res *sip.Response) bool {
	return r.Method == sip.INVITE && !p.voicemail.IsZero() && res.Is(404, 408, 480, 486, 600)
}

// mailbox is a user's address at the voicemail server. A URI with a user of its own learns from parameters whose mailbox is meant, and why (RFC 4458).
func (p *proxy) mailbox(user sip.URI, code int) sip.URI {
	if p.voicemail.User == "" {
		return p.voicemail.WithUser(sip.Unescape(user.User))
	}
	u := p.voicemail.WithParam("target", escapeParam("sip:"+user.User+"@"+user.HostPort()))
	if cause := redirectionCause(code); cause != "" {
		u = u.WithParam("cause", cause)
	}
	return u
}

// redirectionCause is the cause of RFC 4458 §2.
func redirectionCause(code int) string {
	switch code {
	case 404:
		return "404"
	case 486, 600:
		return "486"
	case 408:
		return "408"
	case 480:
		return "480"
	}
	return ""
}

// here answers requests in a dialog whose Request-URI is this server: phones use their GRUU, or their user's address, as Contact, in calls that passed here; what is
// left is for presence and its like. A To tag is no way round the password.
func (p *proxy) here(ctx context.Context, r *sipproxy.Request) *sip.Response {
	if recordroute.Signed(r) {
		if targets, res := p.registrar.Lookup(ctx, r, r.URI); res == nil && len(targets) > 0 {
			return r.Forward(ctx, targets[0])
		}
	}
	if p.c.local != nil {
		return p.c.local.ServeSIP(ctx, r)
	}
	return r.Reply(404)
}

// mayCallOut: the caller is authenticated, or trusted by address. Without -users only this machine may.
func (p *proxy) mayCallOut(ctx context.Context, r *sipproxy.Request) bool {
	source := r.Source.AddrPort.Addr().Unmap()
	if _, ok := auth.User(ctx); ok || p.trusted.Contains(source) {
		return true
	}
	return p.users == nil && source.IsLoopback()
}

// asksForPassword: REGISTER with us, and everything that is said to come from a user of ours.
func (p *proxy) asksForPassword(r *sipproxy.Request) bool {
	if r.Method == sip.REGISTER {
		return p.forUs(&r.URI)
	}
	from, err := r.From()
	return err == nil && p.forUs(&from.URI)
}

// forUs: our domains, addresses, and telephone numbers without a domain.
func (p *proxy) forUs(u *sip.URI) bool {
	return p.server.IsLocal(*u) || strings.EqualFold(u.Scheme, "tel") || u.IsSIP() && strings.EqualFold(strings.TrimSuffix(u.Host, "."), p.c.domain())
}

// number is what was dialled: the user part, or the number of a tel URI without its parameters.
func number(u sip.URI) string {
	if strings.EqualFold(u.Scheme, "tel") {
		number, _, _ := strings.Cut(u.Opaque, ";")
		return withoutSeparators(number)
	}
	user, _, _ := strings.Cut(sip.Unescape(u.User), ";")
	return user
}

// withoutSeparators takes the visual separators of RFC 3966 §3 out.
func withoutSeparators(s string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune("-.()", c) {
			return -1
		}
		return c
	}, s)
}

func isMailbox(r *sipproxy.Request) bool {
	event, _, _ := strings.Cut(r.Get("Event"), ";")
	return strings.EqualFold(strings.TrimSpace(event), "message-summary")
}

func cutLast(s string, at byte) (before, after string) {
	i := strings.LastIndexByte(s, at)
	return s[:i], s[i+1:]
}

// escapeParam writes a URI as the value of a URI parameter (§25.1: neither ':' of a scheme is the trouble, but '@', ';', '=' and '?').
func escapeParam(s string) string {
	return strings.NewReplacer("%", "%25", "@", "%40", ";", "%3B", "=", "%3D", "?", "%3F", "&", "%26").Replace(s)
}
