package middleware

import (
	"context"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// MaxForwards caps the hops that forwarded requests have left: a Max-Forwards that is absent or above limit leaves as limit. By
// itself the engine adds 70 where the field is absent, decrements it, and refuses 0 with 483 (§16.3 step 3, §16.6 step 3). A limit outside
// 1 to 255 changes nothing.
func MaxForwards(limit int) sipproxy.Middleware {
	return func(next sipproxy.Handler) sipproxy.Handler {
		if limit < 1 || limit > 255 {
			return next
		}
		return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if n, err := r.MaxForwards(); err != nil || n > limit {
				r.OnBranch(func(b *sipproxy.Branch) { b.Request.SetMaxForwards(limit) })
			}
			return next.ServeSIP(ctx, r)
		})
	}
}
