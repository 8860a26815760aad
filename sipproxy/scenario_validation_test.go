package sipproxy_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// §16.3 and REQUIREMENTS J: what each broken request is answered with. The next good request is served, an ACK with the same
// fault is met with silence.
func TestRequestValidation(t *testing.T) {
	cases := []struct {
		name   string
		method string
		uri    string
		fields []string
		code   int
		reason string
	}{
		{"no To", "OPTIONS", "sip:b@example.com", []string{"To", ""}, 400, "no To"},
		{"no From", "OPTIONS", "sip:b@example.com", []string{"From", ""}, 400, "no From"},
		{"no Call-ID", "OPTIONS", "sip:b@example.com", []string{"Call-ID", ""}, 400, "no Call-ID"},
		{"no CSeq", "OPTIONS", "sip:b@example.com", []string{"CSeq", ""}, 400, "no CSeq"},
		{"CSeq of another method", "OPTIONS", "sip:b@example.com", []string{"CSeq", "1 INVITE"}, 400, "CSeq"},
		{"CSeq too large", "OPTIONS", "sip:b@example.com", []string{"CSeq", "2147483648 OPTIONS"}, 400, "CSeq"},
		{"Max-Forwards no number", "OPTIONS", "sip:b@example.com", []string{"Max-Forwards", "many"}, 400, "Max-Forwards"},
		{"Max-Forwards 256", "OPTIONS", "sip:b@example.com", []string{"Max-Forwards", "256"}, 400, "Max-Forwards"},
		{"two Call-IDs", "OPTIONS", "sip:b@example.com", []string{"i", "other"}, 400, "Call-ID"},
		{"no colon", "OPTIONS", "sip:b@example.com", []string{"X", "y\r\nthis is no header field"}, 400, "no header field"},
		{"Route malformed", "OPTIONS", "sip:b@example.com", []string{"Route", "<sip:"}, 400, "Route"},
		{"version", "OPTIONS", "", []string{"", "OPTIONS sip:b@example.com SIP/7.0"}, 505, ""},
		{"URI too long", "OPTIONS", "sip:" + strings.Repeat("b", 5000) + "@example.com", nil, 414, ""},
		{"header too large", "OPTIONS", "sip:b@example.com", []string{"Subject", strings.Repeat("x", 33000)}, 513, ""},
		{"unknown scheme", "OPTIONS", "nobody:knows", nil, 416, ""},
		{"Proxy-Require", "OPTIONS", "sip:b@example.com", []string{"Proxy-Require", "foo, bar"}, 420, ""},
		{"Max-Forwards 0", "OPTIONS", "sip:b@example.com", []string{"Max-Forwards", "0"}, 483, ""},
		{"Max-Breadth 0", "OPTIONS", "sip:b@example.com", []string{"Max-Breadth", "0"}, 440, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				serve(t, k, forks(k, "192.0.2.20"))
				alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				alice.Send(raw(k, c.method, c.uri, c.fields...))
				res := response(t, alice.Receive())
				require.Equal(t, c.code, res.Code)
				require.Contains(t, res.Reason, c.reason)
				require.Equal(t, res.Has("To"), res.ToTag() != "", "a To tag")
				if c.code == 420 {
					require.Equal(t, "foo", res.Get("Unsupported"))
					require.True(t, res.HasToken("Unsupported", "bar"))
				}
				alice.Silence(time.Minute) // one final, once
				if c.code != 420 {         // an ACK is let through with it: TestProxyRequireOfAck
					alice.Send(strings.ReplaceAll(raw(k, c.method, c.uri, c.fields...), "OPTIONS", "ACK"))
					alice.Silence(time.Minute)
				}
				good(t, alice, bob)
			})
		})
	}
}

// §16.6 step 3: Max-Forwards is decremented, and 70 where it was absent.
func TestMaxForwards(t *testing.T) {
	for in, out := range map[string]string{"70": "69", "1": "0", "255": "254", "": "70"} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			serve(t, k, forks(k, "192.0.2.20"))
			alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
			alice.Send(raw(k, "OPTIONS", "sip:bob@example.com", "Max-Forwards", in))
			require.Equal(t, out, bob.Received(t, sip.OPTIONS).Get("Max-Forwards"))
			require.Equal(t, 200, response(t, alice.Receive()).Code)
		})
	}
}

// §11, REQUIREMENTS 30: an OPTIONS for the server itself is answered whatever Max-Forwards says; what binds forwarding only does not bind it.
func TestOptionsForUsAtZero(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Server().IsLocal(r.URI) {
				return r.Reply(200)
			}
			return r.Forward(ctx)
		})
		alice := k.Phone("alice", "192.0.2.10")
		alice.Send(raw(k, "OPTIONS", "sip:192.0.2.101", "Max-Forwards", "0", "Proxy-Require", "x"))
		require.Equal(t, 200, response(t, alice.Receive()).Code)
	})
}

// §16.3 step 4: a request that comes back unchanged through another proxy is a loop; one with another Request-URI is a spiral.
func TestLoop(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		first := serve(t, k, forks(k, "192.0.2.102"))
		second := serve(t, k, forks(k, "192.0.2.101"))
		alice := k.Phone("alice", "192.0.2.10")
		alice.Invite(t, "sip:bob@example.com").Expect(482)
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(482)
		require.LessOrEqual(t, first.Stats().Requests+second.Stats().Requests, uint64(8), "found on the first way round")
	})
}

// §16.3 step 4: a proxy whose targets are itself.
func TestLoopToOneself(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response { return r.Forward(ctx) })
		alice := k.Phone("alice", "192.0.2.10")
		alice.Request(t, sip.MESSAGE, "sip:bob@192.0.2.101").Expect(482)
		require.EqualValues(t, 2, s.Stats().Requests)
	})
}

func TestSpiral(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			switch r.URI.User {
			case "sales":
				return r.Forward(ctx, sipproxy.Target{URI: at(k, r, "192.0.2.102").URI.WithUser("bob")})
			}
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		serve(t, k, forks(k, "192.0.2.101"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Answer()
		call := alice.Call(t, "sip:sales@example.com")
		bob.Incoming(t).ExpectAck()
		call.Bye()
	})
}

// RFC 5393 §5: the breadth is shared among branches, and what it does not allow is 440.
func TestMaxBreadth(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20", "192.0.2.30", "192.0.2.40"))
		alice := k.Phone("alice", "192.0.2.10")
		for _, ip := range []string{"192.0.2.20", "192.0.2.30", "192.0.2.40"} {
			k.Phone("p"+ip, ip).Refuse(486)
		}
		breadth := func(n string) func(*sip.Request) { return func(r *sip.Request) { r.Set("Max-Breadth", n) } }
		alice.Invite(t, "sip:bob@example.com", breadth("2")).Expect(440)
		alice.Invite(t, "sip:bob@example.com", breadth("3")).Expect(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486)
	})
}

func TestMaxBreadthIsShared(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20", "192.0.2.30"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		k.Phone("carol", "192.0.2.30").Refuse(486)
		bob.Refuse(486)
		alice.Invite(t, "sip:bob@example.com", func(r *sip.Request) { r.Set("Max-Breadth", "8") }).Expect(486)
		require.Equal(t, "4", bob.Incoming(t).Invitation().Get("Max-Breadth"))
	})
}

// RFC 5393 §5.3.3: every request that is proxied says its breadth.
func TestMaxBreadthIsAdded(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		said := func(r *sip.Request) []string { return slices.Collect(r.All("Max-Breadth")) }
		bob.Refuse(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486)
		require.Equal(t, []string{"60"}, said(bob.Incoming(t).Invitation()))
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com", func(r *sip.Request) { r.Add("Max-Breadth", "7"); r.Add("Max-Breadth", "9") })
		require.Equal(t, []string{"7"}, said(bob.Received(t, sip.MESSAGE)))
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com", func(r *sip.Request) { r.Add("Max-Breadth", "61") })
		require.Equal(t, []string{"60"}, said(bob.Received(t, sip.MESSAGE)))
	})
}

// REQUIREMENTS J 7: bytes behind Content-Length are dropped from a datagram, a Content-Length beyond it is a 400.
func TestContentLengthOfDatagrams(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto.Reliable() {
			return
		}
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		alice.Send(raw(k, "MESSAGE", "sip:bob@example.com", "Content-Length", "2") + "hello")
		require.Equal(t, "he", bob.Received(t, sip.MESSAGE).Body())
		require.Equal(t, 200, response(t, alice.Receive()).Code)
		alice.Send(raw(k, "MESSAGE", "sip:bob@example.com", "Content-Length", "20") + "hello")
		require.Equal(t, 400, response(t, alice.Receive()).Code)
	})
}

// Contract 8: what has no usable Via or start line is counted and dropped.
func TestUnanswerable(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto.Reliable() {
			return
		}
		s := serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		for _, text := range []string{
			"hello", "\x80\x81", raw(k, "OPTIONS", "sip:b@example.com", "Via", ""), "SIP/2.0 200 OK\r\n\r\n",
			strings.Replace(raw(k, "OPTIONS", "sip:b@example.com"), "OPTIONS sip:b@example.com SIP/2.0\r\n", "", 1),
			"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.101;branch=z9hG4bKnone\r\nVia: SIP/2.0/UDP 192.0.2.20\r\nFrom: <sip:a@b>;tag=1\r\n" +
				"To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
		} {
			alice.Send(text)
		}
		alice.Silence(time.Minute)
		st := s.Stats()
		require.GreaterOrEqual(t, st.Invalid+st.StrayResponses+st.Transport.Malformed, uint64(6), "%+v", st)
		good(t, alice, bob)
	})
}
