// Package nat helps phones behind address translators: it tells them from others, finds the way back to them, repairs what they say about themselves and
// keeps their pinholes open.
//
//   - [Behind], [Detect], [When] and [DetectReply] run the tests of Kamailio's nat_uac_test, as named [Reasons].
//   - [User], [Flow] and [Params] make package recordroute route back by flow: signed tokens in Record-Route (RFC 5626 §5), good after a restart and on every
//     node with the same Server.Keys. [Path] does it for REGISTER at an edge proxy (RFC 3327).
//   - [Fix] writes and follows Contact aliases in Kamailio's form, or rewrites Contact.
//   - [Screen] keeps what strangers write from leading into private networks.
//   - [STUN], [Keep] and [Pinger] are keepalives; CRLF is answered by package transport. Server.ForceRport answers phones that do not know rport.
//
// A registrar for phones behind NAT; media is package rtprelay's (Relay.When: nat.Behind):
//
//	package main
//
//	import (
//		"context"
//		"log"
//
//		"github.com/sipkit/sipkit/nat"
//		"github.com/sipkit/sipkit/recordroute"
//		"github.com/sipkit/sipkit/registrar"
//		"github.com/sipkit/sipkit/sip"
//		"github.com/sipkit/sipkit/sipproxy"
//	)
//
//	func main() {
//		users := &registrar.Registrar{Store: new(registrar.Memory), Received: nat.Behind}
//		screen := new(nat.Screen)
//		router := recordroute.Router{User: nat.User, Flow: nat.Flow, Params: nat.Params}
//		chain := sipproxy.Chain{nat.Keep, screen.Middleware, router.Middleware}
//		s := &sipproxy.Server{
//			Names:      []string{"example.com"},
//			Keys:       [][]byte{[]byte("a secret of at least 16 bytes")},
//			ForceRport: true,
//			NonSIP:     nat.STUN,
//			Handler: chain.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
//				if r.Method == sip.REGISTER {
//					return users.ServeSIP(ctx, r)
//				}
//				targets, res := users.Lookup(ctx, r, r.URI)
//				if res != nil {
//					return res
//				}
//				return r.ForwardInTurn(ctx, targets...)
//			}),
//		}
//		log.Fatal(s.Run(context.Background()))
//	}
//
// RFCs: 3327, 3489 and 5389 (binding), 3581, 5626 §5 and §4.4, 6223.
package nat
