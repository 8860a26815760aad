package auth

import (
	"context"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Own lets an authenticated user use only its own addresses-of-record: in To of REGISTER (§10.3 step 4), in From of other requests outside
// dialogs. Others get 403. It stands behind a Digest in the chain; requests that need no authentication, and those in dialogs, whose From may
// be an address the call was redirected from, pass. A REGISTER belongs to no dialog, whatever tags it has. The zero value works.
type Own struct {
	// Owns reports whether a user may use an address. nil: the user part is the user's name, the host its realm or a name of this server; a
	// name of the form user@host is the whole address.
	Owns func(ctx context.Context, id Identity, aor sip.URI) bool
	// Anonymous lets users hide: From sip:anonymous@anonymous.invalid (RFC 3323 §4.1.1.3).
	Anonymous bool
	// Digest, when set, counts refusals (Stats.NotOwn).
	Digest *Digest
}

// Middleware is a sipproxy.Middleware.
func (o Own) Middleware(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		id, known := User(ctx)
		if known && (!r.InDialog() || r.Method == sip.REGISTER) && !o.allows(ctx, id, r) {
			if o.Digest != nil {
				o.Digest.count.notOwn.Add(1)
			}
			return refuse(r, 403, "Forbidden (not your address)")
		}
		return next.ServeSIP(ctx, r)
	})
}

func (o Own) allows(ctx context.Context, id Identity, r *sipproxy.Request) bool {
	aor := own(r)
	if o.Anonymous && r.Method != sip.REGISTER && strings.EqualFold(aor.Host, "anonymous.invalid") {
		return true
	}
	if o.Owns != nil {
		return o.Owns(ctx, id, aor)
	}
	if !aor.IsSIP() {
		return false
	}
	name := sip.Unescape(aor.User)
	if user, host, ok := strings.Cut(id.User, "@"); ok && strings.EqualFold(host, aor.Host) && user == name {
		return true
	}
	return name == id.User && (strings.EqualFold(aor.Host, id.Realm) || r.Server().IsLocal(aor))
}
