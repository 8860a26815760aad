package nat_test

import (
	"context"
	"encoding/hex"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/nat"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

// TestForgedToken: a Route of ours with a token that is not is 403, whatever else is in order.
func TestForgedToken(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		mallory := k.Phone("mallory", "203.0.113.66")
		bob := h.phone("bob", "198.51.100.2")
		register(t, bob)
		list, err := h.store.Lookup(context.Background(), "bob@"+domain)
		require.NoError(t, err)
		f, ok := h.server.FlowTo(list[0].Local, list[0].Received)
		require.True(t, ok)
		good := nat.Token(h.server, f)
		local, remote, err := nat.ParseToken(h.server, good)
		require.NoError(t, err)
		require.Equal(t, []transport.Addr{list[0].Local, list[0].Received}, []transport.Addr{local, remote})

		at := func(token string) int {
			return mallory.Request(t, sip.OPTIONS, "sip:bob@10.0.0.7", func(r *sip.Request) {
				r.Add("Route", "<sip:"+token+"@192.0.2.101:5060;lr>")
			}).Final().Code
		}
		require.Equal(t, 200, at(good), "a token is a way to the phone (RFC 5626 §5.3.1)")
		bob.Received(t, sip.OPTIONS)
		for i := range len(good) {
			c := byte('A')
			if good[i] == c {
				c = 'B'
			}
			require.Equal(t, 403, at(good[:i]+string(c)+good[i+1:]), "byte %d", i)
		}
		require.Equal(t, 403, at(good[:20]))
		require.Equal(t, 403, at(strings.Repeat("A", 500)))
	})
}

// TestOwnToken: a request that came over the flow its Route names goes on from here, not back (RFC 5626 §5.3.2).
func TestOwnToken(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		alice, bob := h.phone("alice", "198.51.100.1"), h.phone("bob", "198.51.100.2")
		register(t, alice)
		register(t, bob)
		list, err := h.store.Lookup(context.Background(), "alice@"+domain)
		require.NoError(t, err)
		f, ok := h.server.FlowTo(list[0].Local, list[0].Received)
		require.True(t, ok)
		alice.Route = []string{"<sip:" + nat.Token(h.server, f) + "@192.0.2.101:5060;transport=" + k.Proto.String() + ";lr>"}
		alice.Request(t, sip.MESSAGE, "sip:bob@"+domain).Expect(200)
		bob.Received(t, sip.MESSAGE)
	})
}

// TestTokenOfACall: the Record-Route of one call does not serve another.
func TestTokenOfACall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		alice, bob := h.phone("alice", "198.51.100.1"), h.phone("bob", "198.51.100.2")
		register(t, bob)
		call := alice.Call(t, "sip:bob@"+domain)
		in := bob.Incoming(t)
		in.ExpectAck()
		route := in.Invitation().Get("Record-Route")
		mallory := k.Phone("mallory", "203.0.113.66")
		require.Equal(t, 403, mallory.Request(t, sip.INFO, "sip:bob@10.0.0.7", func(r *sip.Request) {
			r.Add("Route", route)
			r.SetToTag("whatever")
		}).Final().Code)
		call.Bye()
		in.ExpectBye()
	})
}

// TestEdge: REGISTER through an edge proxy that adds Path; the call comes back by it (142), and again after both have restarted.
func TestEdge(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		next := transport.Addr{Proto: k.Proto, AddrPort: netip.MustParseAddrPort("192.0.2.102:5060")}
		edge := func() *sipproxy.Server {
			return &sipproxy.Server{Keys: keys, Listen: []string{"udp:192.0.2.101:5060", "tcp:192.0.2.101:5060"},
				Handler: sipproxy.Chain{tokens.Middleware, nat.Path}.ThenFunc(
					func(ctx context.Context, r *sipproxy.Request) *sip.Response {
						return r.Forward(ctx, sipproxy.Target{Next: next})
					})}
		}
		first := k.Server(t, edge())
		h := newHouseAt(t, k, "192.0.2.102:5060", recordroute.Middleware)
		bob := h.phone("bob", "198.51.100.2")
		require.Equal(t, 200, register(t, bob).Code)
		list, err := h.store.Lookup(context.Background(), "bob@"+domain)
		require.NoError(t, err)
		require.Len(t, list[0].Path, 1)
		path, err := sip.ParseNameAddr(list[0].Path[0])
		require.NoError(t, err)
		require.True(t, path.URI.Params.Has("ob") && path.URI.Params.Has("lr"), path.URI)
		require.True(t, list[0].Received.IsZero())

		alice := k.Phone("alice", "203.0.113.1")
		alice.Proxy = "192.0.2.102:5060"
		talk := func() {
			call := alice.Call(t, "sip:bob@"+domain)
			in := bob.Incoming(t)
			in.ExpectAck()
			call.Info("text/plain", "hello")
			in.ExpectRequest(sip.INFO)
			in.Bye()
			call.ExpectBye()
		}
		talk()
		require.NoError(t, first.Shutdown(context.Background()))
		k.Server(t, edge())
		if k.Proto == transport.TCP {
			require.Equal(t, 430, alice.Invite(t, "sip:bob@"+domain).Final().Code, "its connection died with the edge")
			bob.Hangup()
			require.Equal(t, 200, register(t, bob).Code)
		}
		talk()
	})
}

// TestConnectionGone: 430 in a call to a phone whose connection broke; a call to it from another phone finds nobody.
func TestConnectionGone(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.TCP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		alice, bob := h.phone("alice", "198.51.100.1"), h.phone("bob", "198.51.100.2")
		register(t, bob)
		call := alice.Call(t, "sip:bob@"+domain)
		bob.Incoming(t).ExpectAck()
		bob.Hangup()
		k.Sleep(time.Second)
		require.Equal(t, 430, call.Start(sip.INFO).Final().Code)
		require.Equal(t, 480, alice.Invite(t, "sip:bob@"+domain).Final().Code)
	})
}

// TestConnectionReused: a caller without NAT is answered on his connection, and on a new one to where his Contact leads when it broke.
func TestConnectionReused(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.TCP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		alice, bob := k.Phone("alice", "203.0.113.9"), h.phone("bob", "198.51.100.2")
		alice.AOR = "sip:alice@" + domain
		register(t, bob)
		alice.Call(t, "sip:bob@"+domain)
		in := bob.Incoming(t)
		in.ExpectAck()
		for range 2 {
			require.Equal(t, 200, in.Start(sip.INFO).Final().Code)
			alice.Hangup()
			k.Sleep(time.Second)
		}
	})
}

// TestDetect looks at whole requests of phones inside and outside.
func TestDetect(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var seen nat.Reasons
		var behind, quiet bool
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response {
			seen, behind, quiet = nat.Detect(r), nat.Behind(r), nat.When(nat.SDPPrivate)(r)
			return r.Reply(200)
		})})
		contact := func(r *sip.Request) {
			r.Set("Contact", "<sip:x@"+r.Get("Call-ID")[strings.IndexByte(r.Get("Call-ID"), '@')+1:]+">")
		}
		outside := k.Phone("outside", "203.0.113.1")
		outside.Request(t, sip.MESSAGE, "sip:"+domain, contact).Expect(200)
		if k.Proto == transport.UDP {
			require.Equal(t, nat.Reasons(0), seen)
		}
		require.False(t, behind)

		box := k.Network.NAT(siptest.NAT{Public: "198.51.100.1"})
		inside := k.PhoneAt(box.Host("192.168.1.9"), "inside")
		inside.Request(t, sip.MESSAGE, "sip:"+domain, contact, func(r *sip.Request) {
			r.SetBody("application/sdp", "v=0\r\nc=IN IP4 192.168.1.9\r\n")
		}).Expect(200)
		require.True(t, behind)
		require.True(t, quiet)
		require.Equal(t, nat.ContactPrivate|nat.ViaSource|nat.ViaPrivate|nat.SDPPrivate|nat.SourcePort|nat.ContactPort|nat.SDPSource, seen)
	})
}

func TestKeep(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, nat.Keep, tokens.Middleware)
		alice, bob := h.phone("alice", "198.51.100.1"), h.phone("bob", "198.51.100.2")
		register(t, bob)
		want := map[transport.Proto]string{transport.UDP: "30", transport.TCP: "120"}[k.Proto]
		offer := func(r *sip.Request) {
			v, _ := r.Via()
			v.Params += ";keep"
			r.ReplaceFirst("Via", v.String())
		}
		value := func(res *sip.Response) string {
			v, err := res.Via()
			require.NoError(t, err)
			n, _ := v.Params.Get("keep")
			return n
		}
		require.Equal(t, want, value(register(t, alice, offer)))
		require.Empty(t, value(register(t, alice)))
		call := alice.Invite(t, "sip:bob@"+domain, offer)
		require.Equal(t, want, value(call.Expect(180)))
		require.Equal(t, want, value(call.Expect(200)))
		call.Ack()
		bob.Incoming(t).ExpectAck()
		call.Bye()
	})
}

// TestSTUNOnSIPPort asks for the mapping of a NAT box on the SIP port.
func TestSTUNOnSIPPort(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		newHouse(t, k, tokens.Middleware)
		host := k.Network.NAT(siptest.NAT{Public: "198.51.100.1"}).Host("10.0.0.7")
		c, err := host.ListenPacket(context.Background(), "udp", "10.0.0.7:5060")
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		ask, err := hex.DecodeString("00010000" + "01020304" + "b7e7a701bc34d686fa87dfae") // RFC 3489: the address in clear
		require.NoError(t, err)
		_, err = c.WriteTo(ask, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.101:5060")))
		require.NoError(t, err)
		var b [200]byte
		n, _, err := c.ReadFrom(b[:])
		require.NoError(t, err)
		require.Equal(t, 32, n)
		require.Equal(t, []byte{198, 51, 100, 1}, b[28:32])
	})
}

// contacts yields what a store holds, for a Pinger.
func contacts(s registrar.Store) func(context.Context) iter.Seq[nat.Contact] {
	return func(ctx context.Context) iter.Seq[nat.Contact] {
		return func(yield func(nat.Contact) bool) {
			for aor, list := range s.Scan(ctx) {
				for _, b := range list {
					if !yield(nat.Contact{ID: string(aor), URI: b.Contact, Local: b.Local, Remote: b.Received}) {
						return
					}
				}
			}
		}
	}
}

// TestPinger keeps a NAT's mapping open that would be gone after 30 s, with complete OPTIONS from the socket of the registration, and tells
// of a phone that has left.
func TestPinger(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		box := k.Network.NAT(siptest.NAT{Public: "198.51.100.2"})
		bob := k.PhoneAt(box.Host("10.0.0.7"), "bob")
		bob.AOR = "sip:bob@" + domain
		register(t, bob)
		ctx, stop := context.WithCancel(context.Background())
		var gone atomic.Int32
		p := &nat.Pinger{Contacts: contacts(h.store), Interval: 20 * time.Second, From: "<sip:keepalive@example.com>", Gone: func(ctx context.Context, c nat.Contact) {
			gone.Add(1)
			require.Equal(t, "bob@"+domain, c.ID)
			require.NoError(t, h.store.Update(ctx, registrar.AOR(c.ID), func([]registrar.Binding) ([]registrar.Binding, error) { return nil, nil }))
		}}
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx, h.server) }()
		k.Sleep(2*time.Minute + time.Second)
		ping := bob.Received(t, sip.OPTIONS)
		n, err := ping.MaxForwards()
		require.NoError(t, err)
		require.Equal(t, 70, n)
		require.Equal(t, "10.0.0.7", ping.URI.Host)
		require.Contains(t, ping.Get("From"), "keepalive@example.com")
		require.EqualValues(t, 7, p.Stats().Answered)

		alice := k.Phone("alice", "203.0.113.1")
		call := alice.Call(t, "sip:bob@"+domain)
		bob.Incoming(t).ExpectAck()
		call.Bye()

		k.Network.Partition("10.0.0.7")
		k.Sleep(48 * time.Second)
		k.Network.Heal()
		k.Sleep(time.Minute)
		require.EqualValues(t, 2, p.Stats().Lost)
		k.Network.Partition("10.0.0.7")
		k.Sleep(50 * time.Second)
		require.Zero(t, gone.Load(), "three failures, but not on end")
		k.Sleep(2 * time.Minute)
		require.EqualValues(t, 1, gone.Load())
		require.EqualValues(t, 5, p.Stats().Lost)
		require.Equal(t, 404, alice.Invite(t, "sip:bob@"+domain).Final().Code)
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
		k.Network.Heal()
	})
}

// TestPingerSpread: datagrams are spread over the interval.
func TestPingerSpread(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := newHouse(t, k, tokens.Middleware)
		host := k.Network.Host("203.0.113.9")
		c, err := host.ListenPacket(context.Background(), "udp", "203.0.113.9:5060")
		require.NoError(t, err)
		local := transport.Addr{Proto: transport.UDP, AddrPort: netip.MustParseAddrPort("192.0.2.101:5060")}
		remote := transport.Addr{Proto: transport.UDP, AddrPort: netip.MustParseAddrPort("203.0.113.9:5060")}
		p := &nat.Pinger{Datagram: true, Contacts: func(context.Context) iter.Seq[nat.Contact] {
			return slices.Values(make10(nat.Contact{Local: local, Remote: remote}))
		}}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx, h.server) }()
		start := time.Now()
		for i := range 25 {
			var b [10]byte
			n, from, err := c.ReadFrom(b[:])
			require.NoError(t, err)
			require.Equal(t, []byte{0, 0, 0, 0}, b[:n])
			require.Equal(t, "192.0.2.101:5060", from.String())
			require.Equal(t, time.Duration(i)*3*time.Second, time.Since(start))
		}
		stop()
		<-ended
		require.NoError(t, c.Close())
	})
}

// TestScreenNames: a name in a contact leads where its owner likes, but not to this machine.
func TestScreenNames(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.SetDNS(siptest.DNS{IP: map[string][]string{
			"loop.example.org": {"127.0.0.1"}, "inside.example.org": {"10.0.0.9"}, "mixed.example.org": {"127.0.0.1", "203.0.113.2"},
			"many.example.org": {"224.0.0.1"}, "us.example.net": {"127.0.0.1"}}})
		screen := &nat.Screen{Names: true}
		k.Server(t, &sipproxy.Server{Names: []string{"us.example.net"}, Handler: sipproxy.Chain{screen.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI}) // as from the location service
			})})
		stranger := k.Phone("stranger", "203.0.113.1")
		k.Phone("good", "203.0.113.2")
		k.Phone("host", "10.0.0.9")
		for host, code := range map[string]int{
			"loop.example.org": 403, "many.example.org": 403, "inside.example.org": 200, "mixed.example.org": 200, "203.0.113.2": 200,
		} {
			require.Equal(t, code, stranger.Request(t, sip.OPTIONS, "sip:x@"+host+";transport="+k.Proto.String()).Final().Code, host)
		}
		refused := screen.Refused()
		require.NotEqual(t, 403, stranger.Invite(t, "sip:x@us.example.net;transport="+k.Proto.String()).Final().Code, "our own name")
		require.Equal(t, refused, screen.Refused())
	})
}

// TestScreenMaddr: an maddr decides where a contact leads, whatever its host is.
func TestScreenMaddr(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"loop.example.org": {"127.0.0.1"}, "many.example.org": {"224.0.0.1"}, "good.example.org": {"203.0.113.2"}}})
		screen := &nat.Screen{Names: true}
		k.Server(t, &sipproxy.Server{Names: []string{"us.example.net"}, Handler: sipproxy.Chain{screen.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				if r.Method == sip.REGISTER {
					return r.Reply(200)
				}
				uri, err := sip.ParseURI(r.Get("Subject")) // as from the location service
				require.NoError(t, err)
				return r.Forward(ctx, sipproxy.Target{URI: uri})
			})})
		stranger := k.Phone("stranger", "203.0.113.1")
		k.Phone("good", "203.0.113.2")
		at := func(host, maddr string) string {
			return "sip:x@" + host + ";maddr=" + maddr + ";transport=" + k.Proto.String()
		}
		for maddr, code := range map[string]int{
			"127.0.0.1": 403, "224.0.1.75": 403, "10.0.0.9": 403, "[::1]": 403, "0.0.0.0": 403, "192.0.2.101": 403, "203.0.113.2": 200, "loop.example.org": 200, "": 200,
		} {
			contact := at("203.0.113.2", maddr)
			require.Equal(t, code, stranger.Request(t, sip.REGISTER, "sip:us.example.net", func(r *sip.Request) { r.Set("Contact", "<"+contact+">") }).Final().Code, contact)
		}
		for maddr, code := range map[string]int{"loop.example.org": 403, "many.example.org": 403, "good.example.org": 200, "203.0.113.2": 200} {
			for _, host := range []string{"203.0.113.2", "us.example.net", "nowhere.example.org"} {
				contact := at(host, maddr)
				require.Equal(t, code, stranger.Request(t, sip.OPTIONS, "sip:x@us.example.net", func(r *sip.Request) { r.Set("Subject", contact) }).Final().Code, contact)
			}
		}
	})
}

func make10(c nat.Contact) []nat.Contact { return slices.Repeat([]nat.Contact{c}, 10) }

// TestScreen: where messages may send the proxy, by address and by name.
func TestScreen(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"evil.example.org": {"10.0.0.9"}, "good.example.org": {"203.0.113.2"},
			"mixed.example.org": {"127.0.0.1", "203.0.113.2"}}})
		screen := &nat.Screen{Allow: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{screen.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response { return r.Forward(ctx) })})
		stranger, inside := k.Phone("stranger", "203.0.113.1"), k.Phone("inside", "10.0.0.1")
		for _, p := range []*siptest.Phone{k.Phone("good", "203.0.113.2"), k.Phone("host", "10.0.0.9"), k.Phone("gateway", "10.9.0.1")} {
			p.Serve = nil
		}
		tail := ";transport=" + k.Proto.String()
		for _, x := range []struct {
			host string
			code int
		}{
			{"203.0.113.2", 200}, {"good.example.org", 200}, {"mixed.example.org", 200}, {"10.9.0.1", 200},
			{"10.0.0.9", 403}, {"evil.example.org", 403}, {"127.0.0.1", 403}, {"0.0.0.0", 403}, {"224.0.1.75", 403}, {"255.255.255.255", 403},
		} {
			require.Equal(t, x.code, stranger.Request(t, sip.OPTIONS, "sip:x@"+x.host+tail).Final().Code, x.host)
		}
		require.Equal(t, 200, inside.Request(t, sip.OPTIONS, "sip:x@10.0.0.9"+tail).Final().Code, "who is inside may go inside")
		require.Equal(t, 403, inside.Request(t, sip.OPTIONS, "sip:x@127.0.0.1"+tail).Final().Code)
		require.GreaterOrEqual(t, screen.Refused(), uint64(8))
	})
}
