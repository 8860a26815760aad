// Package sipproxy is what a SIP proxy is programmed against: a [Handler] decides where a request goes, a [Server] does the rest.
//
// A handler runs once per transaction and returns the final response. [Request.Forward] waits until the best final response of its targets is known, so
// failure routing is an if, and what belongs to a call is a local variable:
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
//	func route(ctx context.Context, r *sipproxy.Request) *sip.Response {
//		res := r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.1")})
//		if res.Is(408, 500, 503) {
//			res = r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.2")})
//		}
//		return res
//	}
//
//	func main() {
//		s := &sipproxy.Server{
//			Listen:  []string{"udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"},
//			Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(route),
//		}
//		log.Fatal(s.Run(context.Background()))
//	}
//
// # What the engine does
//
//   - Stateful and stateless proxying (RFC 3261 §16, §16.11), with the corrections of RFC 4320 and RFC 6026: absorbing copies, retransmission, Timer C, Via,
//     Max-Forwards, Proxy-Require, loop detection (RFC 5393), route preprocessing (§16.4).
//   - Forking in parallel and in turn, the best response (§16.7 step 6), challenges of all branches in one, every 2xx upstream.
//   - CANCEL, in both directions: ctx of the handler ends, branches are cancelled once they have answered 1xx, and later Forwards return 487.
//   - Addresses by RFC 3263, tried in turn by the failures of §16.7; symmetric responses (RFC 3581); flows (RFC 5626 §5.3).
//   - Requests of its own ([Server.Request]), a graceful stop ([Server.Shutdown], Server.Drain), limits that are counted ([Server.Stats]).
//
// # Changing messages
//
// The request that came is read-only. [Request.OnBranch] edits the copy for a target before its next hop is computed, [Request.OnSend] adds what depends on
// the address, and [Request.OnResponse] sees every response of every branch.
//
// # Waiting
//
// Handlers run on the goroutine that read the request until they wait in Forward or [Block]. Whatever else waits, for a database or another server, belongs
// into Block. Forward, Block and Send are called on the goroutine on which ServeSIP or the hook was called. Server.Runner set to [Goroutines] gives each
// handler a goroutine of its own, which is slower and forgives more.
package sipproxy
