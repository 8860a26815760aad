package sipproxy_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// Contract 11: each limit refuses with what it says and counts it; what was there before goes on.
func TestLimits(t *testing.T) {
	cases := []struct {
		name   string
		limits sipproxy.Limits
		code   int
		stat   func(sipproxy.Stats) uint64
	}{
		{"Requests", sipproxy.Limits{Requests: 2}, 503, func(s sipproxy.Stats) uint64 { return s.OverLimit }},
		{"Transactions", sipproxy.Limits{Transactions: 2}, 503, func(s sipproxy.Stats) uint64 { return s.OverLimit }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				c.limits.RetryAfter = 7 * time.Second
				s := k.Server(t, &sipproxy.Server{Handler: forks(k, "192.0.2.20"), Limits: c.limits})
				alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				bob.Ring()
				one, two := alice.Invite(t, "sip:bob@example.com"), alice.Invite(t, "sip:bob@example.com")
				one.Expect(180)
				two.Expect(180)
				for _, m := range []sip.Method{sip.INVITE, sip.MESSAGE} {
					res := alice.Request(t, m, "sip:bob@example.com").Expect(c.code)
					require.Equal(t, "7", res.Get("Retry-After"))
				}
				require.EqualValues(t, 2, c.stat(s.Stats()))
				require.EqualValues(t, 1, s.Stats().Acks, "the ACK of the 503 goes nowhere")
				one.Cancel() // works all the same
				one.Expect(487)
				two.Cancel()
				two.Expect(487)
				k.Sleep(time.Minute)
				good(t, alice, bobAnswers(bob))
			})
		})
	}
}

func bobAnswers(p *siptest.Phone) *siptest.Phone {
	for range 2 {
		p.Incoming(p.T.(*testing.T))
	}
	p.Answer()
	return p
}

// Limits.Branches: targets beyond are not tried, and counted; none left is a 500.
func TestBranchLimit(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := k.Server(t, &sipproxy.Server{Limits: sipproxy.Limits{Branches: 2}, Handler: sipproxy.HandlerFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				res := r.Forward(ctx, ats(k, r, "192.0.2.20", "192.0.2.30", "192.0.2.40")...)
				require.Equal(t, 486, res.Code)
				require.Equal(t, 500, r.Forward(ctx, at(k, r, "192.0.2.40")).Code)
				return res
			})})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		dave := k.Phone("dave", "192.0.2.40")
		bob.Refuse(486)
		carol.Refuse(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486)
		dave.NoCall(t, time.Minute)
		require.EqualValues(t, 2, s.Stats().OverBranches)
	})
}

// Contract 11: sizes of messages.
func TestMessageLimits(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := k.Server(t, &sipproxy.Server{Handler: forks(k, "192.0.2.20"), Limits: sipproxy.Limits{
			Message: sip.Limits{MessageBytes: 2000, HeaderBytes: 1500, Fields: 20, Vias: 3, URIBytes: 100}}})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		via := "Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKx\r\n"
		cases := []struct {
			text string
			code int
		}{
			{raw(k, "OPTIONS", "sip:b@example.com", "Subject", strings.Repeat("x", 1600)), 513},
			{raw(k, "OPTIONS", "sip:b@example.com", "Subject", "x"+strings.Repeat("\r\nSubject: x", 20)), 513},
			{raw(k, "OPTIONS", "sip:b@example.com", "Subject", "x\r\n"+strings.TrimSuffix(strings.Repeat(via, 3), "\r\n")), 513},
			{raw(k, "OPTIONS", "sip:"+strings.Repeat("b", 100)+"@example.com"), 414},
			{raw(k, "MESSAGE", "sip:b@example.com", "Content-Length", "1900") + strings.Repeat("x", 1900), 513},
		}
		n := uint64(0)
		for _, c := range cases {
			n++
			alice.Send(c.text)
			res := response(t, alice.Receive())
			require.Equal(t, c.code, res.Code, c.text)
			if k.Proto.Reliable() {
				alice.Hangup() // framing is lost
			}
			require.Equal(t, n, s.Stats().Invalid)
		}
		good(t, alice, bob)
	})
}

// DESIGN section 2, Check: every mistake at once; Run returns the same.
func TestCheck(t *testing.T) {
	s := &sipproxy.Server{
		Listen: []string{"udp:nowhere", "tls:127.0.0.1:5061", "xyz:127.0.0.1:1"}, Names: []string{"bad name", "sip:x"}, Keys: [][]byte{[]byte("short")},
		Runner: 9, Limits: sipproxy.Limits{Transactions: -1, Branches: -2}, Timers: transaction.Timers{T1: -1, C: time.Minute},
	}
	err := s.Check()
	require.Error(t, err)
	for _, part := range []string{"no Handler", `"udp:nowhere"`, "TLS is not configured", `"xyz:`, `"bad name"`, `"sip:x"`, "Keys[0]", "Runner", "Limits.Transactions",
		"Limits.Branches", "Timers.T1", "Timers.C"} {
		require.ErrorContains(t, err, part)
	}
	require.Equal(t, err.Error(), s.Run(t.Context()).Error())
	require.NoError(t, (&sipproxy.Server{Handler: sipproxy.HandlerFunc(nil)}).Check())
}

// Before Ready a server has no addresses, no figures, no flows and answers its own requests with 503.
func TestBeforeReady(t *testing.T) {
	s := &sipproxy.Server{Handler: sipproxy.HandlerFunc(nil)}
	require.Nil(t, s.Addrs())
	require.Zero(t, s.Stats())
	select {
	case <-s.Ready():
		require.Fail(t, "ready")
	default:
	}
	_, ok := s.FlowTo(transport.Addr{}, transport.Addr{})
	require.False(t, ok)
	require.False(t, s.IsLocal(sip.MustParseURI("sip:example.com")))
	s.Names = []string{"example.org"}
	require.True(t, s.IsLocal(sip.MustParseURI("sip:x@Example.org.:7")), "names, absolute or not, need no sockets")
	req := sip.NewRequest(sip.OPTIONS, sip.MustParseURI("sip:192.0.2.1"))
	require.Equal(t, 503, s.Request(t.Context(), req, sipproxy.Target{}).Code)
	require.NoError(t, s.Shutdown(t.Context()))
}

// A port that is taken is an error of Run, and what was bound before is let go.
func TestListenFails(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		h := k.Network.Host("192.0.2.1")
		pc, err := h.ListenPacket(t.Context(), "udp", "192.0.2.1:5070")
		require.NoError(t, err)
		s := &sipproxy.Server{Handler: forks(k, "192.0.2.20"), Net: h, Listen: []string{"udp:192.0.2.1:5060", "udp:192.0.2.1:5070"}}
		require.Error(t, s.Run(t.Context()))
		require.NoError(t, pc.Close())
		pc, err = h.ListenPacket(t.Context(), "udp", "192.0.2.1:5060")
		require.NoError(t, err)
		require.NoError(t, pc.Close())
		require.Error(t, s.Run(t.Context()), "Run twice")
	})
}

// Contract 10: two servers in one process never meet, with the same names and the same calls.
func TestTwoServers(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		one := k.Server(t, &sipproxy.Server{Handler: forks(k, "192.0.2.20"), Names: []string{"example.com"}})
		two := k.Server(t, &sipproxy.Server{Handler: forks(k, "192.0.2.30"), Names: []string{"example.com"}})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		text := raw(k, "MESSAGE", "sip:x@example.com")
		alice.SendTo("192.0.2.101:5060", text)
		alice.SendTo("192.0.2.102:5060", text)
		require.Equal(t, 200, response(t, alice.Receive()).Code)
		require.Equal(t, 200, response(t, alice.Receive()).Code)
		bob.Received(t, sip.MESSAGE)
		carol.Received(t, sip.MESSAGE)
		require.EqualValues(t, 1, one.Stats().Requests)
		require.EqualValues(t, 1, two.Stats().Requests)
	})
}

// Server.Request: what a UAC gets back, for everything that can happen.
func TestServerRequest(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.ICMP = true
		k.Network.Host("192.0.2.40")
		k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"gw.example": {"192.0.2.40", "192.0.2.20"}}})
		s := serve(t, k, forks(k, "192.0.2.20"))
		bob, mute := k.Phone("bob", "192.0.2.20"), k.Phone("mute", "192.0.2.30")
		mute.Raw()
		ask := func(ctx context.Context, uri string, to sipproxy.Target) *sip.Response {
			u := sip.MustParseURI(uri)
			if k.Proto == transport.TCP {
				u = u.WithParam("transport", "tcp")
			}
			req := sip.NewRequest(sip.OPTIONS, u)
			before := req.String()
			res := s.Request(ctx, req, to)
			require.Equal(t, before, req.String())
			return res
		}
		res := ask(t.Context(), "sip:bob@192.0.2.20", sipproxy.Target{})
		require.Equal(t, 200, res.Code)
		require.NoError(t, res.Cause)
		got := bob.Received(t, sip.OPTIONS)
		for _, name := range []string{"Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Length"} {
			require.True(t, got.Has(name), name)
		}
		require.Equal(t, 200, ask(t.Context(), "sip:gw.example:5060", sipproxy.Target{}).Code, "the second address")
		require.Equal(t, 200, ask(t.Context(), "sip:x@nowhere.example", sipproxy.Target{Next: transport.Addr{Proto: k.Proto, AddrPort: bob.Addr()}}).Code)

		start := time.Now()
		res = ask(t.Context(), "sip:192.0.2.30", sipproxy.Target{})
		require.Equal(t, 408, res.Code)
		require.ErrorIs(t, res.Cause, transaction.ErrTimeout)
		require.InDelta(t, 32, since(start).Seconds(), 1)

		for _, uri := range []string{"sip:192.0.2.40", "sip:nowhere.example"} {
			res = ask(t.Context(), uri, sipproxy.Target{})
			require.Equal(t, 503, res.Code)
			require.Error(t, res.Cause)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start = time.Now()
		require.Equal(t, 408, ask(ctx, "sip:192.0.2.30", sipproxy.Target{}).Code)
		require.Equal(t, 5*time.Second, since(start))
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		require.Equal(t, 487, ask(ctx, "sip:192.0.2.30", sipproxy.Target{}).Code)
	})
}

// Limits.ConnectionsPerIP and the counters of the transport.
func TestConnectionLimit(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.TCP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := k.Server(t, &sipproxy.Server{Handler: forks(k, "192.0.2.20"), Limits: sipproxy.Limits{ConnectionsPerIP: 2}})
		h := k.Network.Host("192.0.2.66")
		var conns []net.Conn
		for range 4 {
			c, err := h.Dial(t.Context(), "tcp", "", "192.0.2.101:5060")
			require.NoError(t, err)
			conns = append(conns, c)
			k.Sleep(time.Second)
		}
		require.EqualValues(t, 2, s.Stats().Transport.ConnsRefused)
		require.EqualValues(t, 2, s.Stats().Transport.ConnsOpen)
		for _, c := range conns {
			require.NoError(t, c.Close())
		}
		good(t, k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"))
	})
}
