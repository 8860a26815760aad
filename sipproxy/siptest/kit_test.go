package siptest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// toBob forwards everything to a phone.
func toBob(bob **siptest.Phone) sipproxy.HandlerFunc {
	return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if r.InDialog() {
			return r.Forward(ctx)
		}
		return r.Forward(ctx, sipproxy.Target{URI: sip.MustParseURI((*bob).Contact())})
	}
}

func TestProxiedCall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var bob *siptest.Phone
		k.Server(t, &sipproxy.Server{Handler: toBob(&bob)})
		alice := k.Phone("alice", "192.0.2.1")
		bob = k.Phone("bob", "192.0.2.2")
		bob.AnswerAfter(3 * time.Second)

		start := time.Now()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(100)
		call.Expect(180)
		call.Expect(200)
		require.Equal(t, 3*time.Second, time.Since(start))
		call.Ack()
		in := bob.Incoming(t)
		in.ExpectAck()
		call.Bye()
		in.ExpectBye()
	})
}

func TestProxiedCancelAndRefusal(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var bob *siptest.Phone
		k.Server(t, &sipproxy.Server{Handler: toBob(&bob)})
		alice := k.Phone("alice", "192.0.2.1")
		bob = k.Phone("bob", "192.0.2.2")
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		in := bob.Incoming(t)
		in.ExpectCancel()
		in.ExpectAck()
		bob.Refuse(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486)
		alice.Request(t, sip.OPTIONS, "sip:bob@example.com").Expect(200)
	})
}
