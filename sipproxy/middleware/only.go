package middleware

import (
	"context"
	"slices"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Only answers 404 Not Found to every method that is not listed. ACK and CANCEL always pass: they belong to an INVITE
// that did.
func Only(methods ...sip.Method) sipproxy.Middleware {
	methods = append([]sip.Method{sip.ACK, sip.CANCEL}, methods...)
	return func(next sipproxy.Handler) sipproxy.Handler {
		return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if !slices.Contains(methods, r.Method) {
				return r.Reply(404)
			}
			return next.ServeSIP(ctx, r)
		})
	}
}
