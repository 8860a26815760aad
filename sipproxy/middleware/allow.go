package middleware

import (
	"context"
	"net/netip"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// AllowFrom answers 403 Forbidden to requests whose packet came from none of the networks; what Via says does not count.
// Host bits that are set in a prefix ("3.4.5.6/24") do not count. Without a prefix nobody is allowed. An ACK from elsewhere is
// dropped.
func AllowFrom(prefixes ...netip.Prefix) sipproxy.Middleware {
	allowed := NewPrefixes(prefixes...)
	return func(next sipproxy.Handler) sipproxy.Handler {
		return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if !allowed.Contains(r.Source.AddrPort.Addr()) {
				return r.Reply(403)
			}
			return next.ServeSIP(ctx, r)
		})
	}
}
