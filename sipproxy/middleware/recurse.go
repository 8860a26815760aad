package middleware

import (
	"context"
	"slices"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Recurse follows redirections inside the proxy (§16.7 step 4, "recursive traversal"): the contacts of a 300, 301 or 302 become further
// branches, all at once, and leave the response. Contacts that are not followed (other schemes, a sip contact of a sips request, a sips
// contact of a sip request, refused ones, those beyond the limit) stay in it, and when none is left it counts no longer. No URI is tried twice. It has no effect
// in stateless mode. The zero value works.
type Recurse struct {
	Limit int // contacts followed for one request; 8

	// Allow says whether to follow a contact; nil: all. Whoever redirects chooses where the proxy sends the call, so
	// proxies with gateways that cost money name here what is allowed.
	Allow func(r *sipproxy.Request, contact sip.URI) bool
}

// Middleware is a sipproxy.Middleware.
func (c Recurse) Middleware(next sipproxy.Handler) sipproxy.Handler {
	limit := c.Limit
	if limit <= 0 {
		limit = 8
	}
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		f := &follower{Recurse: c, left: limit}
		r.OnBranch(func(b *sipproxy.Branch) { f.note(b.Request.URI) })
		r.OnResponse(f.response)
		return next.ServeSIP(ctx, r)
	})
}

// A follower is the state of one request; its hooks run one at a time.
type follower struct {
	Recurse
	left  int
	tried []sip.URI
}

func (f *follower) response(b *sipproxy.Branch, res *sip.Response) {
	if res.Cause != nil || !res.Is(300, 301, 302) {
		return
	}
	var targets []sipproxy.Target
	var follow, tried []string
	for value := range res.Values("Contact") {
		contact, err := sip.ParseNameAddr(value)
		if err != nil || contact.Star || !f.allowed(b, contact.URI) {
			continue
		}
		if !f.note(contact.URI) {
			tried = append(tried, value) // or being tried
			continue
		}
		f.left--
		follow = append(follow, value)
		targets = append(targets, sipproxy.Target{URI: contact.URI, Trying: b.Target.Trying, Ring: b.Target.Ring})
	}
	if len(targets) == 0 {
		return // a circle: the caller may make something of it
	}
	gone := append(tried, follow[:b.Fork(targets...)]...) // those that found no room are the caller's to try
	res.DelFunc("Contact", func(value string) bool { return slices.Contains(gone, value) })
}

func (f *follower) allowed(b *sipproxy.Branch, u sip.URI) bool {
	switch {
	case f.left == 0 || !u.IsSIP():
		return false
	case b.Of.URI.IsSIPS() != u.IsSIPS(): // RFC 5630 §5.3: a promise of security is kept, and none is made for the caller
		return false
	}
	return f.Allow == nil || f.Allow(b.Of, u)
}

// note remembers a URI and reports whether it is new.
func (f *follower) note(u sip.URI) bool {
	for _, t := range f.tried {
		if t.Equal(u) {
			return false
		}
	}
	f.tried = append(f.tried, u)
	return true
}
