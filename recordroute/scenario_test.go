package recordroute_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// target is a host of the network over a transport.
func target(r *sipproxy.Request, host string, p transport.Proto) sipproxy.Target {
	u := r.URI.WithHostPort(host)
	if p == transport.TCP {
		u = u.WithParam("transport", "tcp")
	}
	return sipproxy.Target{URI: u}
}

func to(k *siptest.Kit, host string) sipproxy.HandlerFunc {
	return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		return r.Forward(ctx, target(r, host, k.Proto))
	}
}

func server(rt recordroute.Router, h sipproxy.HandlerFunc) *sipproxy.Server {
	return &sipproxy.Server{Handler: sipproxy.Chain{rt.Middleware}.ThenFunc(h)}
}

func list(m *sip.Request, name string) (all []string) {
	for v := range m.Values(name) {
		all = append(all, v)
	}
	return all
}

// whole is a call with everything in it, both ways.
func whole(t *testing.T, alice, bob *siptest.Phone) (in *sip.Request) {
	t.Helper()
	call := alice.Invite(t, "sip:bob@example.com")
	call.Expect(180)
	call.Expect(200)
	call.Ack(func(r *sip.Request) { r.SetBody("application/sdp", "v=0\r\n") })
	b := bob.Incoming(t)
	require.Equal(t, "v=0\r\n", b.ExpectAck().Body(), "an ACK may carry SDP (REQUIREMENTS 39)")
	call.Info("application/dtmf-relay", "Signal=2\r\n")
	b.ExpectRequest(sip.INFO)
	b.Info("application/dtmf-relay", "Signal=2\r\n")
	call.ExpectRequest(sip.INFO)
	b.Reinvite()
	call.ExpectRequest(sip.INVITE)
	call.ExpectAck()
	call.Reinvite()
	b.ExpectRequest(sip.INVITE)
	b.ExpectAck()
	b.Bye()
	call.ExpectBye()
	return b.Invitation()
}

// cut makes the direct way between two hosts impossible.
func cut(k *siptest.Kit, a, b string) {
	none := siptest.Link{Drop: func(siptest.Packet) bool { return true }}
	k.Network.SetLink(a, b, none)
	k.Network.SetLink(b, a, none)
}

// REQUIREMENTS A 2, 4, 7 to 9, 12, 14: one proxy, one loose Record-Route.
func TestSingle(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, server(recordroute.Router{}, to(k, "192.0.2.20")))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		cut(k, "192.0.2.10", "192.0.2.20")
		in := whole(t, alice, bob)
		rr := list(in, "Record-Route")
		require.Len(t, rr, 1)
		require.Contains(t, rr[0], ";lr")
		require.NotContains(t, rr[0], "lr=")
		require.NotContains(t, rr[0], "ftag")
		require.Equal(t, k.Proto == transport.TCP, strings.Contains(rr[0], "transport=tcp"))
	})
}

// REQUIREMENTS A 10: both proxies stay, each neighbour sees both, the later on top.
func TestTwoProxies(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, server(recordroute.Router{LrOn: true, FromTag: true}, to(k, "192.0.2.102")))
		k.Server(t, server(recordroute.Router{}, to(k, "192.0.2.20")))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		cut(k, "192.0.2.10", "192.0.2.20")
		cut(k, "192.0.2.10", "192.0.2.102")
		cut(k, "192.0.2.101", "192.0.2.20")
		rr := list(whole(t, alice, bob), "Record-Route")
		require.Len(t, rr, 2)
		require.Contains(t, rr[0], "192.0.2.102")
		require.Contains(t, rr[1], "192.0.2.101")
		require.Contains(t, rr[1], ";lr=on;ftag=alice-")
	})
}

// REQUIREMENTS A 16, RFC 5658: two Record-Routes where transport or address family changes, one where not; calls work both ways.
func TestDouble(t *testing.T) {
	cases := []struct {
		name       string
		alice, bob string
		from, to   transport.Proto
		want       []string // parts of the Record-Routes, topmost first
	}{
		{"UDP to TCP", "192.0.2.10", "192.0.2.20", transport.UDP, transport.TCP, []string{"192.0.2.1:5060;transport=tcp;lr", "192.0.2.1:5060;lr"}},
		{"TCP to UDP", "192.0.2.10", "192.0.2.20", transport.TCP, transport.UDP, []string{"192.0.2.1:5060;lr", "192.0.2.1:5060;transport=tcp;lr"}},
		{"IPv4 to IPv6", "192.0.2.10", "2001:db8::20", transport.UDP, transport.UDP, []string{"[2001:db8::1]:5060;lr", "192.0.2.1:5060;lr"}},
		{"IPv6 to IPv4 over TCP", "2001:db8::10", "192.0.2.20", transport.TCP, transport.TCP,
			[]string{"192.0.2.1:5060;transport=tcp;lr", "[2001:db8::1]:5060;transport=tcp;lr"}},
		{"IPv6", "2001:db8::10", "2001:db8::20", transport.UDP, transport.UDP, []string{"[2001:db8::1]:5060;lr"}},
		{"TCP", "192.0.2.10", "192.0.2.20", transport.TCP, transport.TCP, []string{"192.0.2.1:5060;transport=tcp;lr"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Suite{Protos: []transport.Proto{c.from}}.Run(t, func(t *testing.T, k *siptest.Kit) {
				host := c.bob
				if strings.Contains(host, ":") {
					host = "[" + host + "]"
				}
				s := server(recordroute.Router{Params: func(b *sipproxy.Branch) sip.Params { return ";x=1" }},
					func(ctx context.Context, r *sipproxy.Request) *sip.Response {
						return r.Forward(ctx, target(r, host, c.to))
					})
				s.Listen = []string{"udp:192.0.2.1:5060", "tcp:192.0.2.1:5060", "udp:[2001:db8::1]:5060", "tcp:[2001:db8::1]:5060"}
				k.Server(t, s)
				alice, bob := k.Phone("alice", c.alice), k.Phone("bob", c.bob)
				bob.Proto = c.to
				if strings.Contains(c.alice, ":") {
					alice.Proxy = "[2001:db8::1]:5060"
				}
				cut(k, c.alice, c.bob)
				rr := list(whole(t, alice, bob), "Record-Route")
				require.Len(t, rr, len(c.want), "%v", rr)
				for i := range rr {
					require.True(t, strings.HasPrefix(rr[i], "<sip:"+c.want[i]), "%v", rr)
					require.Contains(t, rr[i], ";x=1")
				}
			})
		})
	}
}

// §16.6 step 4: where TLS is asked for by the Request-URI or by the topmost Route that goes out, our own is a sips URI.
func TestSecure(t *testing.T) {
	for _, c := range []struct{ to, uri, path, want string }{
		{"sips:bob@example.com", "sips:bob@192.0.2.20", "", "<sips:192.0.2.101:5060;lr;"},
		{"sip:bob@example.com", "sips:bob@192.0.2.20", "", "<sip:192.0.2.101:5060;transport=tls;lr;"}, // the request stays a sip one (RFC 5630 §5.3)
		{"sip:bob@example.com", "sip:bob@192.0.2.20", "sips:192.0.2.30;lr", "<sips:192.0.2.101:5060;lr;"},
		{"sip:bob@example.com", "sip:bob@192.0.2.20", "sips:192.0.2.30", "<sips:192.0.2.101:5060;lr;"}, // strict: it becomes the Request-URI
		{"sip:bob@example.com", "sip:bob@192.0.2.20;transport=tls", "", "<sip:192.0.2.101:5060;transport=tls;lr;"},
		{"sip:bob@example.com", "sip:bob@192.0.2.20", "sip:192.0.2.30;transport=tls;lr", "<sip:192.0.2.101:5060;transport=tls;lr;"},
	} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			var got string
			k.Server(t, server(recordroute.Router{}, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				r.OnSend(func(b *sipproxy.Branch) {
					got = b.Request.Get("Record-Route")
					b.Refuse(480)
				})
				target := sipproxy.Target{URI: sip.MustParseURI(c.uri)}
				if c.path != "" {
					target.Path = []sip.URI{sip.MustParseURI(c.path)}
				}
				return r.Forward(ctx, target)
			}))
			k.Phone("alice", "192.0.2.10").Invite(t, c.to).Expect(480)
			require.True(t, strings.HasPrefix(got, c.want), "%+v: %s", c, got)
		})
	}
}

// Only methods that form a dialog get a Record-Route, within a dialog none do, unless asked for (REQUIREMENTS 99, 104).
func TestMethods(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, server(recordroute.Router{}, to(k, "192.0.2.20")))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		for m, want := range map[sip.Method]bool{sip.SUBSCRIBE: true, sip.REFER: true, sip.NOTIFY: true, sip.OPTIONS: false, sip.MESSAGE: false, sip.REGISTER: false} {
			alice.Request(t, m, "sip:bob@example.com").Expect(200)
			require.Equal(t, want, bob.Received(t, m).Has("Record-Route"), m)
		}
		call := alice.Call(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		require.False(t, b.ExpectAck().Has("Record-Route"))
		call.Reinvite()
		require.False(t, b.ExpectRequest(sip.INVITE).Has("Record-Route"))
		b.ExpectAck()
		call.Bye()
	})
}

func TestInDialogToo(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		rt := recordroute.Router{InDialog: true, Methods: []sip.Method{sip.INVITE, sip.BYE}}
		k.Server(t, server(rt, to(k, "192.0.2.20")))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		call := alice.Call(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		b.ExpectAck()
		call.Reinvite()
		require.True(t, b.ExpectRequest(sip.INVITE).Has("Record-Route"))
		b.ExpectAck()
		call.Bye()
		require.True(t, b.ExpectBye().Has("Record-Route"))
	})
}

// Contract 13: what a request in a dialog gets, by what its Route says; an ACK is met with silence wherever the others are refused.
func TestWithinDialog(t *testing.T) {
	type edit func(sig string) (uri string, routes string)
	const bob = "sip:bob@192.0.2.20"
	cases := []struct {
		name string
		rt   recordroute.Router
		edit edit
		want int
	}{
		{"signed", recordroute.Router{}, func(sig string) (string, string) { return bob, sig }, 200},
		{"no Route", recordroute.Router{}, func(string) (string, string) { return bob, "" }, 404},
		{"unsigned", recordroute.Router{}, func(string) (string, string) { return bob, "<sip:192.0.2.101;lr>" }, 403},
		{"unsigned, Follow", recordroute.Router{Unsigned: recordroute.Follow}, func(string) (string, string) { return bob, "<sip:192.0.2.101;lr>" }, 200},
		{"forged", recordroute.Router{}, func(sig string) (string, string) { return bob, strings.Replace(sig, ";s=", ";s=x", 1) }, 403},
		{"forged, Follow", recordroute.Router{Unsigned: recordroute.Follow}, func(sig string) (string, string) { return bob, strings.Replace(sig, ";s=", ";s=x", 1) }, 403},
		{"parameter changed", recordroute.Router{}, func(sig string) (string, string) { return bob, strings.Replace(sig, ";x=1", ";x=2", 1) }, 403},
		{"parameter added", recordroute.Router{}, func(sig string) (string, string) { return bob, strings.Replace(sig, ";lr", ";lr;nat=yes", 1) }, 403},
		{"signature beside a plain one", recordroute.Router{}, func(sig string) (string, string) { return bob, "<sip:192.0.2.101;lr>," + sig }, 403},
		{"foreign Route", recordroute.Router{}, func(string) (string, string) { return bob, "<sip:192.0.2.20;lr>" }, 403},
		{"foreign Route, Follow", recordroute.Router{Foreign: recordroute.Follow}, func(string) (string, string) { return bob, "<sip:192.0.2.20;lr>" }, 200},
		{"for us", recordroute.Router{}, func(sig string) (string, string) { return "sip:192.0.2.101", sig }, 404},
		{"for us, Local", recordroute.Router{Local: sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(202) })},
			func(sig string) (string, string) { return "sip:192.0.2.101", sig }, 202},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				c.rt.Params = func(*sipproxy.Branch) sip.Params { return ";x=1" }
				k.Server(t, server(c.rt, to(k, "192.0.2.20")))
				alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				call := alice.Call(t, "sip:bob@example.com")
				b := bob.Incoming(t)
				b.ExpectAck()
				bob.Serve = func(_ *siptest.Call, r *sip.Request) *sip.Response { return sip.NewResponse(r, 200, "", "b") }
				uri, routes := c.edit(b.Invitation().Get("Record-Route"))
				u := sip.MustParseURI(uri)
				if k.Proto == transport.TCP && u.User != "" {
					u = u.WithParam("transport", "tcp")
				}
				var tx *siptest.Transaction
				change := func(r *sip.Request) {
					r.Del("Route")
					if routes != "" {
						r.Set("Route", routes)
					}
					r.SetURI(u)
				}
				bob.Lenient, alice.Lenient = true, true
				tx = call.Start(sip.MESSAGE, change)
				tx.Expect(c.want)
				if c.want != 200 {
					ack := tx.Request().String()
					alice.Send(strings.ReplaceAll(ack, "MESSAGE", "ACK"))
					alice.Silence(time.Minute)
				}
				call.Bye()
			})
		})
	}
}

// REQUIREMENTS J 18: a preloaded foreign Route is refused, removed or followed; our own is popped.
func TestPreloaded(t *testing.T) {
	for policy, want := range map[recordroute.Policy]int{recordroute.Refuse: 403, recordroute.Strip: 200, recordroute.Follow: 202} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			k.Server(t, server(recordroute.Router{Foreign: policy}, to(k, "192.0.2.20")))
			alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
			carol.Serve = func(_ *siptest.Call, r *sip.Request) *sip.Response { return sip.NewResponse(r, 202, "", "c") }
			carol.Lenient = true // it is no proxy: a Route is left on what it gets
			hop := "<sip:192.0.2.30;lr;transport=" + k.Proto.String() + ">"
			alice.Route = []string{"<sip:192.0.2.101;lr>", hop}
			alice.Request(t, sip.MESSAGE, "sip:bob@192.0.2.20").Expect(want)
			if want == 200 {
				require.False(t, bob.Received(t, sip.MESSAGE).Has("Route"))
			}
			alice.Route = []string{"<sip:192.0.2.101;lr>"}
			alice.Request(t, sip.MESSAGE, "sip:bob@192.0.2.20").Expect(200)
		})
	}
}

// The Record-Route names the socket of the address tried: a second address over another transport gets its own, and one only.
func TestOnceAddress(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.ICMP = true
		k.Network.Host("192.0.2.30")
		k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"gw.example": {"192.0.2.30", "192.0.2.20"}}})
		k.Server(t, server(recordroute.Router{}, to(k, "gw.example:5060")))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		require.Len(t, list(whole(t, alice, bob), "Record-Route"), 1)
	})
}

// §18.1.1 with contract 6: a request that grows over 1300 bytes by the Record-Route goes by TCP with a double one; refused there, by
// UDP with a single one.
func TestLargeRequest(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, server(recordroute.Router{}, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			return r.Forward(ctx, sipproxy.Target{URI: r.URI})
		}))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		large := func(r *sip.Request) { r.Add("Subject", strings.Repeat("x", 1250-r.Len())) }
		call := alice.Invite(t, "sip:bob@192.0.2.20", large)
		call.Final()
		call.Ack()
		b := bob.Incoming(t)
		require.Len(t, list(b.Invitation(), "Record-Route"), 2)
		via, _ := b.Invitation().Via()
		require.Equal(t, "TCP", via.Transport)
		call.Bye()

		pc, err := k.Network.Host("192.0.2.30").ListenPacket(t.Context(), "udp", "192.0.2.30:5060") // no TCP here
		require.NoError(t, err)
		defer func() { _ = pc.Close() }()
		call = alice.Invite(t, "sip:bob@192.0.2.30", large)
		buf := make([]byte, 65535)
		n, from, err := pc.ReadFrom(buf)
		require.NoError(t, err)
		req, err := sip.ParseRequest(string(buf[:n]))
		require.NoError(t, err)
		require.Len(t, list(req, "Record-Route"), 1)
		via, _ = req.Via()
		require.Equal(t, "UDP", via.Transport)
		require.Greater(t, n, 1300)
		_, err = pc.WriteTo([]byte(sip.NewResponse(req, 486, "", "b").String()), from)
		require.NoError(t, err)
		call.Expect(486)
	})
}
