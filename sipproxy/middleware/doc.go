// Package middleware has small ready links for the chain of a SIP proxy: what many
// configurations do to every request before they route it.
//
//   - [Sanity] drops scanners, refuses what is too large or malformed, answers OPTIONS for the proxy itself (RFC 3261 §11);
//   - [Only] lets the named methods through, [AllowFrom] the named networks, [RateLimit] no flood;
//   - [MaxForwards] caps the hops a request has left (§16.6 step 3);
//   - [Recurse] follows redirections (§16.7 step 4);
//   - [Log] writes a line a request, [Trace] whole messages.
//
// The outermost comes first in the chain. A proxy that relays INVITEs of one network to a gateway:
//
//	package main
//
//	import (
//		"context"
//		"log"
//		"net/netip"
//		"os"
//
//		"github.com/sipkit/sipkit/recordroute"
//		"github.com/sipkit/sipkit/sip"
//		"github.com/sipkit/sipkit/sipproxy"
//		"github.com/sipkit/sipkit/sipproxy/middleware"
//	)
//
//	func main() {
//		flood := &middleware.RateLimit{Rate: 30}
//		chain := sipproxy.Chain{
//			middleware.Log{}.Middleware,
//			flood.Middleware,
//			middleware.Sanity{}.Middleware,
//			recordroute.Middleware,
//			middleware.Only(sip.INVITE),
//			middleware.AllowFrom(netip.MustParsePrefix("198.51.100.0/24")),
//		}
//		s := &sipproxy.Server{
//			Handler: chain.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
//				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.1")})
//			}),
//			Tap: middleware.Trace(os.Stderr),
//		}
//		log.Fatal(s.Run(context.Background()))
//	}
//
// RFCs: 3261, 4320, 5393 through package sipproxy.
package middleware
