package siptest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

// to forwards everything outside dialogs to phones, in parallel.
func to(phones ...**siptest.Phone) sipproxy.HandlerFunc {
	return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		var targets []sipproxy.Target
		for _, p := range phones {
			targets = append(targets, sipproxy.Target{URI: sip.MustParseURI((*p).Contact())})
		}
		return r.Forward(ctx, targets...)
	}
}

func recorded(h sipproxy.Handler) sipproxy.Handler {
	return sipproxy.Chain{recordroute.Middleware}.Then(h)
}

func TestRecordRoutedCall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var bob *siptest.Phone
		k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob))})
		alice := k.Phone("alice", "192.0.2.1")
		bob = k.Phone("bob", "192.0.2.2")
		// Nobody reaches anybody but through the proxy.
		direct := siptest.Link{Drop: func(siptest.Packet) bool { return true }}
		k.Network.SetLink("192.0.2.1", "192.0.2.2", direct)
		k.Network.SetLink("192.0.2.2", "192.0.2.1", direct)
		fullProxied(t, alice, bob)
	})
}

func fullProxied(t *testing.T, alice, bob *siptest.Phone) {
	call := alice.Invite(t, "sip:bob@example.com")
	call.Expect(180)
	call.Expect(200)
	call.Ack()
	in := bob.Incoming(t)
	in.ExpectAck()
	call.Info("text/plain", "hello")
	in.ExpectRequest(sip.INFO)
	in.Info("text/plain", "hello yourself")
	call.ExpectRequest(sip.INFO)
	in.Reinvite()
	call.ExpectRequest(sip.INVITE)
	call.ExpectAck()
	in.Bye()
	call.ExpectBye()
}

func TestTwoProxies(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var bob *siptest.Phone
		next := sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			hop := transport.Addr{Proto: k.Proto, AddrPort: k.Network.Host("192.0.2.102").At(5060)}
			return r.Forward(ctx, sipproxy.Target{Next: hop})
		})
		k.Server(t, &sipproxy.Server{Handler: recorded(next)})
		k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob)), Names: []string{"example.com"}})
		alice := k.Phone("alice", "192.0.2.1")
		bob = k.Phone("bob", "192.0.2.2")
		fullProxied(t, alice, bob)
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
	})
}

// Any one datagram of a proxied call may be lost.
func TestLossOfEachProxiedMessage(t *testing.T) {
	for lost := range uint64(40) {
		siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
			var bob *siptest.Phone
			k.Network.SetLink("", "", siptest.Link{
				Delay: 5 * time.Millisecond,
				Drop:  func(p siptest.Packet) bool { return p.N == lost },
			})
			k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob))})
			alice := k.Phone("alice", "192.0.2.1")
			bob = k.Phone("bob", "192.0.2.2")
			bob.AnswerAfter(time.Second)
			call := alice.Call(t, "sip:bob@example.com")
			in := bob.Incoming(t)
			in.ExpectAck()
			in.Info("text/plain", "x")
			call.Bye()

			bob.Ring()
			call = alice.Invite(t, "sip:bob@example.com")
			time.Sleep(time.Second)
			call.Cancel()
			call.Transaction().Final()
		})
	}
}

func TestHeavyLossThroughAProxy(t *testing.T) {
	for seed := range uint64(15) {
		siptest.Suite{Protos: []transport.Proto{transport.UDP}, Seed: seed}.Run(t, func(t *testing.T, k *siptest.Kit) {
			var bob *siptest.Phone
			k.Network.SetLink("", "", siptest.Link{Delay: 5 * time.Millisecond, Loss: 0.2, Duplicate: 0.2, Reorder: 0.2})
			k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob))})
			alice := k.Phone("alice", "192.0.2.1")
			bob = k.Phone("bob", "192.0.2.2")
			for range 3 {
				call := alice.Call(t, "sip:bob@example.com")
				bob.Incoming(t).ExpectAck()
				call.Bye()
			}
		})
	}
}

// Both answer in the same instant: both 2xx go upstream, and the caller ends one.
func TestForkWithTwoAnswers(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var bob, carol *siptest.Phone
		k.Network.SetLink("", "", siptest.Link{Delay: 10 * time.Millisecond})
		k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob, &carol))})
		alice := k.Phone("alice", "192.0.2.1")
		bob, carol = k.Phone("bob", "192.0.2.2"), k.Phone("carol", "192.0.2.3")
		call := alice.Call(t, "sip:anyone@example.com")
		other := call.Fork()
		other.Ack()
		other.Bye()
		call.Bye()
	})
}

func TestForkCancelsTheOthers(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var bob, carol, dave *siptest.Phone
		k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob, &carol, &dave))})
		alice := k.Phone("alice", "192.0.2.1")
		bob, carol, dave = k.Phone("bob", "192.0.2.2"), k.Phone("carol", "192.0.2.3"), k.Phone("dave", "192.0.2.4")
		bob.AnswerAfter(5 * time.Second)
		carol.Ring()
		dave.Refuse(486)
		call := alice.Invite(t, "sip:anyone@example.com")
		call.Expect(180)
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		carol.Incoming(t).ExpectCancel()
		call.Bye()
	})
}

func TestPhoneBehindNAT(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var bob *siptest.Phone
		k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob))})
		box := k.Network.NAT(siptest.NAT{Public: "203.0.113.1", Symmetric: true})
		alice := k.PhoneAt(box.Host("10.0.0.5"), "alice")
		bob = k.Phone("bob", "192.0.2.2")
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		call.Bye()
		in.ExpectBye()
	})
}

func TestGatewayWithoutSocket(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.ICMP = true
		k.Network.Host("192.0.2.9")
		start := time.Now()
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			uri := sip.MustParseURI("sip:192.0.2.9")
			if k.Proto == transport.TCP {
				uri = uri.WithParam("transport", "tcp")
			}
			return r.Forward(ctx, sipproxy.Target{URI: uri})
		})})
		res := k.Phone("alice", "192.0.2.1").Invite(t, "sip:bob@example.com").Final()
		require.True(t, res.Is(500, 503), "%s", res)
		require.Less(t, time.Since(start), time.Second)
	})
}

// Phones work on real sockets as well: examples show themselves with them.
func TestPhonesOnLoopback(t *testing.T) {
	for _, proto := range []transport.Proto{transport.UDP, transport.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			l := &siptest.Ladder{}
			var phones []*siptest.Phone
			for _, name := range []string{"alice", "bob"} {
				p := &siptest.Phone{T: t, Net: transport.SystemNet{}, Name: name, Listen: "127.0.0.1:0", Proto: proto, Wait: 10 * time.Second}
				p.Start()
				phones = append(phones, p)
				l.Column(name, p.Addr().String())
			}
			bob := phones[1]
			s := &sipproxy.Server{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}, Tap: l.Tap, Drain: -1, Handler: recorded(to(&bob))}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			<-s.Ready()
			at := s.Addrs()[0]
			if proto == transport.TCP {
				at = s.Addrs()[1]
			}
			phones[0].Proxy = at.AddrPort.String()
			call := phones[0].Call(t, "sip:bob@example.com")
			in := bob.Incoming(t)
			in.ExpectAck()
			in.Bye()
			call.ExpectBye()
			for _, p := range phones {
				p.Close()
			}
			cancel()
			require.NoError(t, <-done)
			require.Contains(t, l.String(), "200 OK (BYE)")
		})
	}
}

// A server that was shut down can be followed by another one on its address.
func TestRestart(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		alice, bob := k.Phone("alice", "192.0.2.1"), k.Phone("bob", "192.0.2.2")
		key := [][]byte{[]byte("0123456789abcdef")}
		first := k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob)), Keys: key})
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		require.NoError(t, first.Shutdown(t.Context()))
		k.Server(t, &sipproxy.Server{Handler: recorded(to(&bob)), Keys: key, Listen: first.Listen})
		call.Bye()
		in.ExpectBye()
	})
}
