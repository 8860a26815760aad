// Package siptest tests SIP routing in memory and in virtual time: hosts, links, NAT boxes and DNS (Network), scripted
// phones that check what they receive (Phone, Call), and a harness that runs a scenario in every mode and shows
// what was sent when it fails (Run, Kit, Ladder). It needs testing/synctest and nothing of the machine: no sockets, no waiting.
//
// The phones follow RFC 3261 (transactions §17 and RFC 6026, dialogs §12, CANCEL §9, RFC 3581 rport) with code of their own,
// apart from the message parser.
//
// A complete test of a routing handler:
//
//	package main
//
//	import (
//		"context"
//		"testing"
//		"time"
//
//		"github.com/sipkit/sipkit/sip"
//		"github.com/sipkit/sipkit/sipproxy"
//		"github.com/sipkit/sipkit/sipproxy/siptest"
//	)
//
//	// failover is the handler under test: the second gateway takes what the first refuses.
//	func failover(ctx context.Context, r *sipproxy.Request) *sip.Response {
//		if r.InDialog() {
//			return r.Forward(ctx)
//		}
//		res := r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.11:5060")})
//		if res.Is(408, 500, 503) {
//			res = r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.12:5060")})
//		}
//		return res
//	}
//
//	func TestFailover(t *testing.T) {
//		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
//			k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(failover)})
//			alice := k.Phone("alice", "192.0.2.1")
//			first, second := k.Phone("first", "192.0.2.11"), k.Phone("second", "192.0.2.12")
//			first.Refuse(500)
//			second.AnswerAfter(10 * time.Second) // takes no time to wait for
//
//			call := alice.Invite(t, "sip:+15551234@example.com")
//			call.Expect(180)
//			call.Expect(200)
//			call.Ack()
//			in := second.Incoming(t)
//			in.ExpectAck()
//			in.Bye()
//			call.ExpectBye()
//		})
//	}
package siptest
