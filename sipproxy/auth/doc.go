// Package auth authenticates users by digest (RFC 3261 §22) with MD5, SHA-256 and SHA-512-256 (RFC 7616, RFC 8760).
//
//   - [Digest] challenges and verifies, as registrar (401) or proxy (407); [User] tells the handlers behind it who asks.
//   - [Own] keeps users to their own addresses-of-record.
//   - [Users] and [File] hold passwords; anything else that is a [Source] does.
//   - [Digest].UserHash lets clients send a hash of their name in its place.
//   - [Authorize] answers challenges, for clients and tests.
//
// Nonces are signed with Server.Keys: a challenge costs no memory, and is good after a restart and on other nodes. The counts of a nonce are
// remembered, bounded, from its first valid use on. Wrong passwords are limited for each user and source.
//
// A proxy that relays only the calls of its users, and takes those of a gateway as they are:
//
//	package main
//
//	import (
//		"context"
//		"log"
//		"net/netip"
//
//		"github.com/sipkit/sipkit/recordroute"
//		"github.com/sipkit/sipkit/sip"
//		"github.com/sipkit/sipkit/sipproxy"
//		"github.com/sipkit/sipkit/sipproxy/auth"
//	)
//
//	func main() {
//		users, err := auth.OpenFile("users.htdigest")
//		if err != nil {
//			log.Fatal(err)
//		}
//		digest := &auth.Digest{
//			Source:  users,
//			Realm:   "example.com",
//			Proxy:   true,
//			Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.8/29")},
//		}
//		chain := sipproxy.Chain{recordroute.Middleware, digest.Middleware, auth.Own{}.Middleware}
//		s := &sipproxy.Server{
//			Names: []string{"example.com"},
//			Handler: chain.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
//				if id, ok := auth.User(ctx); ok {
//					log.Printf("%s calls %s", id.User, r.URI)
//				}
//				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.9")})
//			}),
//		}
//		log.Fatal(s.Run(context.Background()))
//	}
//
// RFCs: 3261 §20.44, §22, 7616 (without Authentication-Info), 8760, 2617 and 2069 for old clients, 3323 (anonymous From).
package auth
