package sipproxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// to makes a target at a host of the network.
func to(r *sipproxy.Request, host string) sipproxy.Target {
	return sipproxy.Target{URI: r.URI.WithHostPort(host)}
}

// TestCall is the trapezoid's middle: INVITE, 100, 180, 200, ACK, BYE through a proxy that stays on the path (§16, F1 to F14).
func TestCall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, to(r, "192.0.2.20"))
			})})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.AnswerAfter(3 * time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		in := bob.Incoming(t)
		in.ExpectAck()
		call.Info("application/dtmf-relay", "Signal=2\r\nDuration=4800\r\n")
		in.ExpectRequest(sip.INFO)
		in.Reinvite()
		call.ExpectRequest(sip.INVITE)
		call.ExpectAck()
		in.Bye()
		call.ExpectBye()
	})
}

// TestCancel: the proxy answers the CANCEL itself, makes its own, and relays the 487 (§16.10).
func TestCancel(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var cause error
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			res := r.Forward(ctx, to(r, "192.0.2.20"))
			if ctx.Err() != nil {
				cause = ctx.Err()
				require.Equal(t, 487, r.Forward(ctx, to(r, "192.0.2.30")).Code)
			}
			return res
		})})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		bob.Incoming(t).ExpectCancel()
		call.Expect(487)
		require.Error(t, cause)
	})
}

// TestFork: two phones ring, the first 2xx wins and the other is cancelled (§16.7 step 10).
func TestFork(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			return r.Forward(ctx, to(r, "192.0.2.20"), to(r, "192.0.2.30"))
		})})
		alice := k.Phone("alice", "192.0.2.10")
		slow, quick := k.Phone("slow", "192.0.2.20"), k.Phone("quick", "192.0.2.30")
		slow.Ring()
		quick.AnswerAfter(2 * time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Final()
		call.Ack()
		slow.Incoming(t).ExpectCancel()
		quick.Incoming(t).ExpectAck()
		call.Bye()
	})
}
