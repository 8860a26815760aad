package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/middleware"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
)

// A stage is a proxy with a chain under test between alice and bob.
type stage struct {
	*testing.T
	net        *siptest.Network
	server     *sipproxy.Server
	alice, bob *siptest.Phone
}

// on runs f with a proxy on both runners; requests that pass the chain go to bob.
func on(t *testing.T, chain func() sipproxy.Chain, f func(s *stage)) {
	for name, runner := range map[string]sipproxy.RunnerMode{"goroutine": sipproxy.Goroutines, "coroutine": sipproxy.Coroutines} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				play(t, &sipproxy.Server{Runner: runner, Handler: chain().ThenFunc(toBob)}, f)
			})
		})
	}
}

func chained(m ...sipproxy.Middleware) func() sipproxy.Chain {
	return func() sipproxy.Chain { return m }
}

func toBob(ctx context.Context, r *sipproxy.Request) *sip.Response {
	return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.2")})
}

func play(t *testing.T, server *sipproxy.Server, f func(s *stage)) {
	s := &stage{T: t, net: &siptest.Network{T: t}, server: server}
	server.Net = s.net.Host("192.0.2.10")
	server.Listen = []string{"udp:192.0.2.10:5060"}
	if server.Logger == nil {
		server.Logger = slog.New(slog.DiscardHandler)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run(context.Background()) }()
	<-server.Ready()
	s.alice, s.bob = s.phone("alice", "192.0.2.1"), s.phone("bob", "192.0.2.2")
	t.Cleanup(func() {
		s.alice.Close()
		s.bob.Close()
		require.NoError(t, server.Shutdown(context.Background()))
		require.NoError(t, <-ended)
	})
	f(s)
}

func (s *stage) phone(name, ip string) *siptest.Phone {
	p := &siptest.Phone{T: s.T, Net: s.net.Host(ip), Name: name, Listen: ip + ":5060", Proxy: "192.0.2.10:5060"}
	p.Start()
	return p
}

const bob = "sip:bob@192.0.2.10"

func set(name, value string) func(*sip.Request) {
	return func(r *sip.Request) { r.Set(name, value) }
}

func TestOnly(t *testing.T) {
	on(t, chained(middleware.Only(sip.INVITE, sip.MESSAGE)), func(s *stage) {
		s.bob.AnswerAfter(time.Hour)
		call := s.alice.Invite(s, bob)
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		s.alice.Request(s, sip.MESSAGE, bob).Expect(200)
		for _, m := range []sip.Method{sip.OPTIONS, sip.REGISTER, sip.SUBSCRIBE, "FOO"} {
			s.alice.Request(s, m, bob).Expect(404)
		}
	})
}

func TestAllowFrom(t *testing.T) {
	on(t, chained(middleware.AllowFrom(netip.MustParsePrefix("192.0.2.77/24"))), func(s *stage) {
		s.alice.Request(s, sip.OPTIONS, bob).Expect(200)
	})
	on(t, chained(middleware.AllowFrom(netip.MustParsePrefix("3.4.5.6/24"))), func(s *stage) {
		s.alice.Request(s, sip.OPTIONS, bob).Expect(403)
		s.alice.Invite(s, bob).Expect(403)
	})
	on(t, chained(middleware.AllowFrom()), func(s *stage) {
		s.alice.Request(s, sip.OPTIONS, bob).Expect(403)
	})
}

func TestPrefixes(t *testing.T) {
	list, err := middleware.ParsePrefixes("3.4.5.6/24, 4.5.6.7/24,198.51.100.7,2001:db8::1/32,::ffff:10.1.2.3/104")
	require.NoError(t, err)
	set := middleware.NewPrefixes(append(list, netip.Prefix{})...)
	for addr, want := range map[string]bool{
		"3.4.5.0": true, "3.4.5.255": true, "3.4.6.0": false, "4.5.6.1": true, "198.51.100.7": true, "198.51.100.8": false,
		"2001:db8:ffff::1": true, "2001:db9::1": false, "::ffff:3.4.5.9": true, "10.9.9.9": true, "11.0.0.0": false, "fe80::1%eth0": false,
	} {
		require.Equal(t, want, set.Contains(netip.MustParseAddr(addr)), addr)
	}
	require.False(t, set.Contains(netip.Addr{}))
	require.False(t, new(middleware.Prefixes).Contains(netip.MustParseAddr("3.4.5.6")))
	_, err = middleware.ParsePrefixes("1.2.3,1.2.3.4/33,1.2.3.4")
	require.ErrorContains(t, err, `"1.2.3"`)
	require.ErrorContains(t, err, `"1.2.3.4/33"`)
}

func TestMaxForwards(t *testing.T) {
	for sent, want := range map[string]string{"": "10", "9": "8", "10": "9", "11": "10", "255": "10"} {
		on(t, chained(middleware.MaxForwards(10)), func(s *stage) {
			s.alice.Request(s, sip.MESSAGE, bob, func(r *sip.Request) {
				if r.Del("Max-Forwards"); sent != "" {
					r.Set("Max-Forwards", sent)
				}
			}).Expect(200)
			require.Equal(s, want, s.bob.Received(s, sip.MESSAGE).Get("Max-Forwards"), "sent %q", sent)
		})
	}
	on(t, chained(middleware.MaxForwards(10)), func(s *stage) {
		s.alice.Request(s, sip.MESSAGE, bob, set("Max-Forwards", "0")).Expect(483)
	})
}

func TestSanity(t *testing.T) {
	on(t, chained(middleware.Sanity{MessageBytes: 2000, URIBytes: 100, FromTag: true}.Middleware), func(s *stage) {
		ours := s.alice.Request(s, sip.OPTIONS, "sip:192.0.2.10").Expect(200)
		for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Supported"} {
			require.True(s, ours.Has(name), "§11.2: %s", name)
		}
		require.False(s, ours.Has("Allow"), "§11.2")
		require.Empty(s, ours.Get("Supported"), "§20.37: none")
		s.alice.Request(s, sip.OPTIONS, "sip:192.0.2.10", set("Max-Forwards", "0")).Expect(200)
		s.alice.Request(s, sip.OPTIONS, bob).Expect(200)
		s.bob.Received(s, sip.OPTIONS) // the third only
		s.alice.Request(s, sip.MESSAGE, bob, set("User-Agent", "friendly phone")).Expect(200)
		s.bob.Received(s, sip.MESSAGE)
		s.alice.Request(s, sip.OPTIONS, bob, set("Subject", strings.Repeat("x", 2000))).Expect(513)
		s.alice.Request(s, sip.OPTIONS, "sip:"+strings.Repeat("x", 100)+"@192.0.2.10").Expect(414)
		res := s.alice.Request(s, sip.OPTIONS, bob, set("Expires", "soon")).Expect(400)
		require.Contains(s, res.Reason, "Expires")
		for _, agent := range []string{"friendly-scanner", "Friendly-Scanner", "x SIPVicious 0.3", "sipcli/v1.8", "VaxSIPUserAgent/3.5"} {
			s.alice.Request(s, sip.OPTIONS, bob, set("User-Agent", agent)).Nothing(40 * time.Second)
		}
		require.EqualValues(s, 5, s.server.Stats().Silenced)
	})
}

func TestSanityFromTag(t *testing.T) {
	request := func(s *stage) string {
		s.alice.Send("OPTIONS " + bob + " SIP/2.0\n" +
			"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\nFrom: <sip:alice@192.0.2.1>\nTo: <" + bob + ">\nCall-ID: 1\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n")
		return s.alice.Receive()
	}
	on(t, chained(middleware.Sanity{FromTag: true}.Middleware), func(s *stage) {
		require.Contains(s, request(s), "400 Bad Request (no tag in From)")
	})
	on(t, chained(middleware.Sanity{}.Middleware), func(s *stage) {
		s.bob.Lenient = true
		require.Contains(s, request(s), "200 OK")
	})
}

func TestSanitySupported(t *testing.T) {
	on(t, chained(middleware.Sanity{Supported: "path, gruu"}.Middleware), func(s *stage) {
		require.True(s, s.alice.Request(s, sip.OPTIONS, "sip:192.0.2.10").Expect(200).HasToken("Supported", "gruu"))
	})
}

func TestSanityOwnWords(t *testing.T) {
	on(t, chained(middleware.Sanity{Scanners: []string{}, RouteOptions: true}.Middleware), func(s *stage) {
		s.alice.Request(s, sip.OPTIONS, "sip:192.0.2.10", set("User-Agent", "sipvicious")).Expect(200)
		s.bob.Received(s, sip.OPTIONS)
	})
}

func TestRateLimit(t *testing.T) {
	var limit *middleware.RateLimit
	chain := func() sipproxy.Chain {
		limit = &middleware.RateLimit{Rate: 2, Burst: 4, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/32")}}
		return sipproxy.Chain{limit.Middleware}
	}
	on(t, chain, func(s *stage) {
		for range 4 {
			s.alice.Request(s, sip.OPTIONS, bob).Expect(200)
		}
		res := s.alice.Request(s, sip.OPTIONS, bob).Expect(503)
		require.Equal(s, "1", res.Get("Retry-After"))
		time.Sleep(500 * time.Millisecond)
		s.alice.Request(s, sip.OPTIONS, bob).Expect(200)
		s.alice.Request(s, sip.OPTIONS, bob).Expect(503)
		time.Sleep(time.Hour)
		for range 4 {
			s.alice.Request(s, sip.OPTIONS, bob).Expect(200)
		}
		s.alice.Request(s, sip.OPTIONS, bob).Expect(503)
		for range 20 {
			s.bob.Request(s, sip.OPTIONS, bob).Expect(200)
		}
		require.EqualValues(s, 3, limit.Refused())
	})
}

// A phone with a wrong password sends 16 REGISTERs in 0.6 s.
func TestRateLimitToleratesAPhone(t *testing.T) {
	on(t, func() sipproxy.Chain { return sipproxy.Chain{new(middleware.RateLimit).Middleware} }, func(s *stage) {
		for range 16 {
			s.alice.Request(s, sip.REGISTER, bob).Expect(200)
			time.Sleep(600 * time.Millisecond / 16)
		}
	})
}

func TestRateLimitSilent(t *testing.T) {
	on(t, func() sipproxy.Chain {
		return sipproxy.Chain{(&middleware.RateLimit{Rate: 0.1, Burst: 1, Silent: true}).Middleware}
	}, func(s *stage) {
		s.alice.Request(s, sip.OPTIONS, bob).Expect(200)
		s.alice.Request(s, sip.OPTIONS, bob).Nothing(9 * time.Second)
	})
}

// refuses is a handler that answers as its number says.
func refuses(code int) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(code) })
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	synctest.Test(t, func(t *testing.T) {
		h := sipproxy.Chain{middleware.Log{Logger: logger}.Middleware}.Then(refuses(404))
		play(t, &sipproxy.Server{Handler: h}, func(s *stage) { s.alice.Request(s, sip.OPTIONS, bob).Expect(404) })
	})
	require.Contains(t, out.String(),
		`msg=request method=OPTIONS uri=sip:bob@192.0.2.10 call-id=alice-1@192.0.2.1 source=udp:192.0.2.1:5060 status=404 reason="Not Found" duration=0s`)
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	out.Reset()
	synctest.Test(t, func(t *testing.T) { // the server's logger, and its level
		h := sipproxy.Chain{middleware.Log{Level: slog.LevelDebug}.Middleware}.Then(refuses(404))
		play(t, &sipproxy.Server{Handler: h, Logger: logger}, func(s *stage) { s.alice.Request(s, sip.OPTIONS, bob).Expect(404) })
	})
	require.Empty(t, out.String())
}

func TestLogCostsNothingWhenOff(t *testing.T) {
	req, err := sip.ParseRequest("OPTIONS sip:x SIP/2.0\r\nCall-ID: 1\r\n\r\n")
	require.NoError(t, err)
	logger := slog.New(slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	silent := sipproxy.HandlerFunc(func(context.Context, *sipproxy.Request) *sip.Response { return nil })
	h, r := middleware.Log{Logger: logger}.Middleware(silent), &sipproxy.Request{Request: req}
	require.Zero(t, testing.AllocsPerRun(100, func() { h.ServeSIP(t.Context(), r) }))
}

func TestRecurse(t *testing.T) {
	on(t, chained(middleware.Recurse{}.Middleware), func(s *stage) {
		carol, dave := s.phone("carol", "192.0.2.3"), s.phone("dave", "192.0.2.4")
		defer carol.Close()
		defer dave.Close()
		s.bob.Redirect(302, "sip:carol@192.0.2.3", "sip:dave@192.0.2.4")
		carol.Ring()
		dave.AnswerAfter(time.Second)
		call := s.alice.Call(s, bob)
		carol.Incoming(s).ExpectCancel()
		dave.Incoming(s).ExpectAck()
		call.Bye()
		carol.Refuse(486) // a redirection that leads nowhere counts no longer itself
		dave.Refuse(404)
		s.alice.Invite(s, bob).Expect(404, 486)
	})
}

func TestRecurseKeepsWhatItDoesNotFollow(t *testing.T) {
	on(t, chained(middleware.Recurse{}.Middleware), func(s *stage) {
		s.bob.Redirect(302, "tel:+49301234567", "sip:carol@192.0.2.3", "sips:dave@192.0.2.4")
		carol := s.phone("carol", "192.0.2.3")
		defer carol.Close()
		carol.Refuse(486)
		res := s.alice.Invite(s, bob).Expect(302)
		require.Equal(s, []string{"<tel:+49301234567>", "<sips:dave@192.0.2.4>"}, slices.Collect(res.Values("Contact")))
		carol.Incoming(s)
	})
}

// Contacts for which the request has no breadth left stay in the redirection.
func TestRecurseWithoutRoom(t *testing.T) {
	on(t, chained(middleware.Recurse{}.Middleware), func(s *stage) {
		s.bob.Redirect(302, "sip:carol@192.0.2.3", "sip:dave@192.0.2.4")
		carol := s.phone("carol", "192.0.2.3")
		defer carol.Close()
		carol.Refuse(486)
		res := s.alice.Invite(s, bob, func(r *sip.Request) { r.Set("Max-Breadth", "1") }).Expect(302)
		require.Equal(s, "<sip:dave@192.0.2.4>", res.Get("Contact"))
		carol.Incoming(s)
	})
}

// Two who redirect to each other are asked once each.
func TestRecurseInCircles(t *testing.T) {
	on(t, chained(middleware.Recurse{}.Middleware), func(s *stage) {
		carol := s.phone("carol", "192.0.2.3")
		defer carol.Close()
		s.bob.Redirect(302, "sip:carol@192.0.2.3")
		carol.Redirect(302, "sip:bob@192.0.2.2")
		s.alice.Invite(s, bob).Expect(302)
		s.bob.Incoming(s)
		carol.Incoming(s)
		s.bob.NoCall(s, time.Minute)
		carol.NoCall(s, 0)
	})
}

func TestRecurseLimits(t *testing.T) {
	var many []string
	for i := range 20 {
		many = append(many, "sip:"+strconv.Itoa(i)+"@192.0.2.3")
	}
	branches := 0
	count := func(next sipproxy.Handler) sipproxy.Handler {
		return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			branches = 0
			r.OnBranch(func(*sipproxy.Branch) { branches++ })
			return next.ServeSIP(ctx, r)
		})
	}
	on(t, chained(middleware.Recurse{Limit: 3}.Middleware, count), func(s *stage) {
		s.bob.Redirect(300, many...) // to where nobody answers
		s.alice.Invite(s, bob).Expect(300)
		require.Equal(s, 1+3, branches)
	})
	refuse := middleware.Recurse{Allow: func(_ *sipproxy.Request, u sip.URI) bool { return u.Host != "192.0.2.3" }}
	on(t, chained(refuse.Middleware), func(s *stage) {
		s.bob.Redirect(302, "sip:carol@192.0.2.3")
		require.Equal(s, "<sip:carol@192.0.2.3>", s.alice.Invite(s, bob).Expect(302).Get("Contact"))
	})
	on(t, chained(middleware.Recurse{}.Middleware), func(s *stage) { // other classes are left alone
		s.bob.Redirect(380, "sip:carol@192.0.2.3")
		s.alice.Invite(s, bob).Expect(380)
	})
}

func packet(out bool, text string) transport.Packet {
	local, _ := transport.ParseAddr("udp:192.0.2.10:5060")
	remote, _ := transport.ParseAddr("udp:192.0.2.1:5062")
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	return transport.Packet{Time: at, Out: out, Local: local, Remote: remote, Data: []byte(text)}
}

func TestTrace(t *testing.T) {
	var out bytes.Buffer
	trace := middleware.Trace(&out)
	trace(packet(false, "OPTIONS sip:x SIP/2.0\r\nVia: \x1b[2Jx\r\n\r\nbody\r\nmore\r\n"))
	trace(packet(true, "SIP/2.0 200 OK\r\nVia: x\r\n\r\n"))
	require.Equal(t, "2026-03-04T05:06:07.000008Z 192.0.2.1:5062 -> 192.0.2.10:5060 udp\n"+
		"OPTIONS sip:x SIP/2.0\nVia: ?[2Jx\n\nbody\nmore\n\n"+
		"2026-03-04T05:06:07.000008Z 192.0.2.10:5060 -> 192.0.2.1:5062 udp\nSIP/2.0 200 OK\nVia: x\n\n", out.String())
}

func TestTraceInColour(t *testing.T) {
	for start, colour := range map[string]string{
		"INVITE sip:x SIP/2.0": "1;36", "SIP/2.0 180 Ringing": "33", "SIP/2.0 200 OK": "1;32", "SIP/2.0 302 Moved": "34", "SIP/2.0 486 Busy": "1;31",
	} {
		var out bytes.Buffer
		tracer := &middleware.Tracer{Writer: &out, Colour: true, When: func(p transport.Packet) bool { return !p.Out }}
		tracer.Packet(packet(true, start))
		require.Empty(t, out.String())
		tracer.Packet(packet(false, start))
		require.Contains(t, out.String(), "\x1b["+colour+"m"+start+"\x1b[0m\n")
	}
}

// Requests and replies of a call, as the proxy sees them.
func TestTraceOfACall(t *testing.T) {
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		play(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(toBob), Tap: middleware.Trace(&out)}, func(s *stage) {
			s.bob.Refuse(486)
			s.alice.Invite(s, bob).Expect(486)
			time.Sleep(time.Minute)
		})
	})
	var lines []string
	after := ""
	for line := range strings.Lines(out.String()) {
		if strings.Contains(after, " -> ") {
			f := strings.Fields(after)
			lines = append(lines, fmt.Sprint(f[1], f[2], f[3], " ", strings.Join(strings.Fields(line)[:2], " ")))
		}
		after = line
	}
	a, b, p := "192.0.2.1:5060", "192.0.2.2:5060", "192.0.2.10:5060"
	require.Equal(t, []string{
		a + "->" + p + " INVITE sip:bob@192.0.2.10", p + "->" + a + " SIP/2.0 100", p + "->" + b + " INVITE sip:bob@192.0.2.2",
		b + "->" + p + " SIP/2.0 486", p + "->" + b + " ACK sip:bob@192.0.2.2", p + "->" + a + " SIP/2.0 486",
		a + "->" + p + " ACK sip:bob@192.0.2.10",
	}, lines)
}
