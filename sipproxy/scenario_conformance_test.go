package sipproxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// §16.6 step 9, §18.3: what came in a datagram without Content-Length gets one, whatever way it leaves by.
func TestContentLengthIsAdded(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto != transport.UDP {
			t.Skip("a stream cannot do without")
		}
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			target := to(r, "192.0.2.20")
			target.URI = target.URI.WithParam("transport", "tcp")
			return r.Forward(ctx, target)
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		for body, want := range map[string]string{"": "0", "hello": "5"} {
			alice.Send(raw(k, "OPTIONS", "sip:bob@example.com", "Content-Length", "") + body)
			got := bob.Received(t, sip.OPTIONS)
			require.Equal(t, want, got.Get("Content-Length"))
			require.Equal(t, body, got.Body())
			require.Equal(t, 200, response(t, alice.Receive()).Code)
		}
	})
}

// §18.1.2: a response whose sent-by is none of ours is dropped and counted, whatever its branch says.
func TestResponseWithForeignSentBy(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		call.Expect(100)
		ours := "192.0.2.101:5060"
		for i, foreign := range []string{"192.0.2.66:5060", "192.0.2.101:5099", "proxy.example:5060", "192.0.2.66"} {
			res := sip.NewResponse(b.Invitation(), 180, "", "b").String()
			require.Contains(t, res, ours)
			bob.Send(strings.Replace(res, ours, foreign, 1))
			call.Nothing(time.Second)
			require.EqualValues(t, i+1, s.Stats().StrayResponses, foreign)
		}
		b.Answer()
		call.Expect(200)
		call.Ack()
		call.Bye()
	})
}
