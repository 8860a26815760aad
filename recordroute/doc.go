// Package recordroute keeps a proxy on the path of dialogs: it puts Record-Route into the requests that form one, and sends the requests within it where
// their Route says.
//
//   - Record-Route is written where the next hop is known (RFC 3261 §16.6 step 4): one value, or two when a message leaves by another transport, socket
//     or address family than it came (RFC 5658). sips stays sips (§16.6 step 4, RFC 5630).
//   - Loose and strict routing (§16.4, §16.12): package sipproxy has taken our own Routes off the request and put the Request-URI of a strict router
//     right; [Router.Middleware] forwards what is left, or gives it to [Router.Local] when it is for this server.
//   - A signature over the dialog in each Record-Route: a To tag is written in no time, and a proxy that follows every Route with one is an open relay. What
//     comes without one is refused by default ([Policy]), a wrong one always: 403. Servers with the same Server.Keys know each other's.
//
// Requests outside a dialog go to the next handler; foreign preloaded Routes do not, unless [Router.Foreign] allows them. The tokens of RFC 5626 that route
// back by flow come from package nat through [Router.User] and [Router.Flow].
//
// A proxy that stays on the path of its calls:
//
//	package main
//
//	import (
//		"context"
//		"log"
//
//		"github.com/sipkit/sipkit/recordroute"
//		"github.com/sipkit/sipkit/sip"
//		"github.com/sipkit/sipkit/sipproxy"
//	)
//
//	func main() {
//		route := func(ctx context.Context, r *sipproxy.Request) *sip.Response {
//			return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.1")})
//		}
//		s := &sipproxy.Server{
//			Keys:    [][]byte{[]byte("a secret of at least 16 bytes")}, // calls outlive a restart
//			Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(route),
//		}
//		log.Fatal(s.Run(context.Background()))
//	}
package recordroute
