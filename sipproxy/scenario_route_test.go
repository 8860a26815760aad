package sipproxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// §16.4, §16.6 and §16.12, the whole table: what comes in, and what arrives at bob (192.0.2.20). The server is 192.0.2.101, alias proxy.example.
func TestRouting(t *testing.T) {
	const us, bob, carol = "<sip:192.0.2.101;lr>", "<sip:192.0.2.20;lr>", "<sip:192.0.2.30;lr>"
	cases := []struct {
		name   string
		uri    string
		routes []string
		out    string
		left   []string
	}{
		{"no Route", "sip:b@192.0.2.20", nil, "sip:b@192.0.2.20", nil},
		{"own Route popped", "sip:b@192.0.2.20", []string{us}, "sip:b@192.0.2.20", nil},
		{"own by alias", "sip:b@192.0.2.20", []string{"<sip:proxy.example;lr>"}, "sip:b@192.0.2.20", nil},
		{"own with lr=on", "sip:b@192.0.2.20", []string{"<sip:192.0.2.101;lr=on;ftag=x>"}, "sip:b@192.0.2.20", nil},
		{"own with a user", "sip:b@192.0.2.20", []string{"<sip:token@192.0.2.101;lr>"}, "sip:b@192.0.2.20", nil},
		{"two own in two lines", "sip:b@192.0.2.20", []string{us, us}, "sip:b@192.0.2.20", nil},
		{"two own in a list", "sip:b@192.0.2.20", []string{us + ", " + us}, "sip:b@192.0.2.20", nil},
		{"own, then loose", "sip:x@192.0.2.99", []string{us, bob}, "sip:x@192.0.2.99", []string{bob}},
		{"own and loose in a list", "sip:x@192.0.2.99", []string{us + "," + bob + " , " + carol}, "sip:x@192.0.2.99", []string{bob, carol}},
		{"foreign only", "sip:x@192.0.2.99", []string{bob}, "sip:x@192.0.2.99", []string{bob}},
		{"own below foreign stays", "sip:x@192.0.2.99", []string{bob, us}, "sip:x@192.0.2.99", []string{bob, us}},
		{"next hop strict", "sip:x@192.0.2.99", []string{us, "<sip:192.0.2.20>"}, "sip:192.0.2.20", []string{"<sip:x@192.0.2.99>"}},
		{"next hop strict, more behind", "sip:x@192.0.2.99", []string{us, "<sip:192.0.2.20>", carol}, "sip:192.0.2.20", []string{carol, "<sip:x@192.0.2.99>"}},
		{"strict behind us", "sip:192.0.2.101;lr", []string{"<sip:b@192.0.2.20>"}, "sip:b@192.0.2.20", nil},
		{"strict behind us, loose ahead", "sip:192.0.2.101;lr", []string{bob, "<sip:x@192.0.2.99>"}, "sip:x@192.0.2.99", []string{bob}},
		{"strict behind us, list", "sip:192.0.2.101;lr", []string{bob + ", <sip:x@192.0.2.99>"}, "sip:x@192.0.2.99", []string{bob}},
		{"strict behind, double Record-Route", "sip:192.0.2.101;lr", []string{us, bob, "<sip:x@192.0.2.99>"}, "sip:x@192.0.2.99", []string{bob}},
		{"strict on both sides", "sip:192.0.2.101;lr", []string{"<sip:192.0.2.20>", "<sip:x@192.0.2.99>"}, "sip:192.0.2.20", []string{"<sip:x@192.0.2.99>"}},
		{"maddr elsewhere", "sip:x@example.com;maddr=192.0.2.20", nil, "sip:x@example.com;maddr=192.0.2.20", nil},
		{"maddr ours", "sip:b@192.0.2.20;maddr=192.0.2.101", nil, "sip:b@192.0.2.20", nil},
		{"odd Route parameters survive", "sip:x@192.0.2.99", []string{us, "<sip:192.0.2.20;lr;x=%41>;y=z"}, "sip:x@192.0.2.99", []string{"<sip:192.0.2.20;lr;x=%41>;y=z"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				k.Server(t, &sipproxy.Server{Names: []string{"proxy.example"}, Handler: sipproxy.HandlerFunc(
					func(ctx context.Context, r *sipproxy.Request) *sip.Response { return r.Forward(ctx) })})
				alice, b := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				b.Raw()
				for _, m := range []string{"MESSAGE", "ACK"} {
					text := raw(k, m, c.uri)
					req := request(t, text)
					for _, v := range c.routes {
						req.Add("Route", v)
					}
					alice.Send(req.String())
					got := request(t, b.Receive())
					require.Equal(t, c.out, got.URI.String())
					var left []string
					for v := range got.Values("Route") {
						left = append(left, v)
					}
					require.Equal(t, c.left, left)
					if m == "MESSAGE" {
						b.Send(sip.NewResponse(got, 200, "", "b").String())
						require.Equal(t, 200, response(t, alice.Receive()).Code)
					}
				}
				alice.Silence(time.Minute)
			})
		})
	}
}

// RFC 3327: the Path of a binding becomes the Route, above what the request has left; a strict hop in it is served too.
func TestPath(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			return r.Forward(ctx, sipproxy.Target{
				URI:  sip.MustParseURI("sip:b@10.0.0.1;method=INVITE?Subject=x"),
				Path: []sip.URI{sip.MustParseURI("sip:192.0.2.20;lr"), sip.MustParseURI("sip:192.0.2.21;lr")},
			})
		})
		alice, b := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		b.Raw()
		tx := alice.Request(t, sip.MESSAGE, "sip:bob@example.com")
		got := request(t, b.Receive())
		require.Equal(t, "sip:b@10.0.0.1", got.URI.String(), "a Request-URI has neither headers nor method (§19.1.1)")
		var left []string
		for v := range got.Values("Route") {
			left = append(left, v)
		}
		require.Equal(t, []string{"<sip:192.0.2.20;lr>", "<sip:192.0.2.21;lr>"}, left)
		b.Send(sip.NewResponse(got, 200, "", "b").String())
		tx.Expect(200)
	})
}

// Contract 5: what a handler does to a branch is not seen in the request, nor in other branches.
func TestBranchesAreIndependent(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			before := r.Request.String()
			r.OnBranch(func(b *sipproxy.Branch) {
				require.False(t, b.Request.Has("X-Leg"))
				b.Request.Set("X-Leg", []string{"a", "b"}[b.ID])
				b.Request.SetBody("text/plain", []string{"one", "two"}[b.ID])
			})
			res := r.Forward(ctx, ats(k, r, "192.0.2.20", "192.0.2.30")...)
			require.Equal(t, before, r.Request.String())
			return res
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Refuse(486)
		carol.Refuse(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486)
		require.Equal(t, "one", bob.Incoming(t).Invitation().Body())
		require.Equal(t, "b", carol.Incoming(t).Invitation().Get("X-Leg"))
	})
}

// §16.6 step 5, DropRoutes: routes that are not ours are forgotten on demand.
func TestDropRoutes(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.DropRoutes()
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		alice.Route = []string{"<sip:192.0.2.101;lr>", "<sip:192.0.2.66;lr>"}
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(200)
		require.False(t, bob.Received(t, sip.MESSAGE).Has("Route"))
	})
}

// §16.4: a strict router put us into the Request-URI, and the handler drops what is left.
func TestDropRoutesAfterStrict(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.DropRoutes()
			return r.Forward(ctx)
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		alice.Send(raw(k, "MESSAGE", "sip:192.0.2.101;lr", "Route", "<sip:192.0.2.66;lr>, <sip:b@192.0.2.20>"))
		req := bob.Received(t, sip.MESSAGE)
		require.Equal(t, "sip:b@192.0.2.20", req.URI.String())
		require.Equal(t, 200, response(t, alice.Receive()).Code)
	})
}
