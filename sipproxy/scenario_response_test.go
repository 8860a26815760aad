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
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// §16.7 step 6: which of two final responses goes upstream.
func TestBestResponse(t *testing.T) {
	cases := []struct{ one, other, best int }{
		{404, 486, 404}, // the same class: the first
		{486, 404, 486},
		{486, 302, 302},
		{500, 486, 486},
		{603, 302, 603},
		{486, 401, 401},
		{404, 407, 407},
		{480, 484, 484},
		{404, 415, 415},
		{404, 420, 420},
		{503, 500, 500},
		{500, 503, 500},
		{503, 504, 504},
		{503, 486, 486},
		{503, 603, 603},
		{503, 503, 500}, // §16.7: what the next hops cannot do says nothing of the proxy
		{503, 0, 500},
		{0, 486, 486}, // 0: silence, a 408 of our own
		{0, 500, 408},
		{0, 408, 408},
		{606, 600, 606},
	}
	for _, c := range cases {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			serve(t, k, forks(k, "192.0.2.20", "192.0.2.30"))
			alice := k.Phone("alice", "192.0.2.10")
			behave(k.Phone("one", "192.0.2.20"), c.one, 0)
			behave(k.Phone("other", "192.0.2.30"), c.other, time.Second)
			call := alice.Invite(t, "sip:bob@example.com")
			want := c.best
			if c.one == 503 && c.other == 0 {
				want = 408 // the class of 4xx wins
			}
			call.Expect(want)
			call.Nothing(time.Minute)
		})
	}
}

// behave refuses with a code after a while, 0: never says anything.
func behave(p *siptest.Phone, code int, after time.Duration) {
	if code == 0 {
		p.Silent()
		return
	}
	p.OnCall(func(c *siptest.Call) {
		if c.Pause(after) {
			c.Refuse(code)
		}
	})
}

// §16.7 step 5: 1xx go up in the order of arrival, of every branch; 100 stays.
func TestProvisionalResponses(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20", "192.0.2.30"))
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Silent()
		carol.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b, c := bob.Incoming(t), carol.Incoming(t)
		require.Equal(t, 100, call.Expect(100).Code)
		b.Trying()
		call.Nothing(time.Second)
		for _, code := range []int{181, 180, 183, 182} {
			b.Respond(code)
			call.Expect(code)
			c.Respond(code)
			call.Expect(code)
		}
		c.Answer()
		call.Expect(200)
		call.Ack()
		b.ExpectCancel()
		call.Bye()
	})
}

// §16.7 step 5 and contract 1: 6xx ends the rest of a Forward; the caller hears once all branches have ended.
func TestGlobalFailure(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20", "192.0.2.30"))
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Ring()
		behave(carol, 603, time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(603)
		bob.Incoming(t).ExpectCancel()
		// A 2xx that crosses the CANCEL still wins.
		bob.Silent()
		call = alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		b.Ring()
		call.Expect(180)
		k.Network.SetLink("192.0.2.20", "192.0.2.101", siptest.Link{Delay: 2 * time.Second})
		b.Answer()
		call.Expect(200)
		call.Ack()
		call.Nothing(time.Minute)
	})
}

// §16.7 step 7: the challenges of all branches are in the answer, over several Forwards too (contract 1).
func TestChallengesAreMerged(t *testing.T) {
	challenge := func(code int, name, realm string) func(*siptest.Call) {
		return func(c *siptest.Call) {
			c.Respond(code, func(res *sip.Response) { res.Add(name, `Digest realm="`+realm+`", nonce="n"`) })
		}
	}
	check := func(t *testing.T, res *sip.Response) {
		all := slices.Concat(slices.Collect(res.All("WWW-Authenticate")), slices.Collect(res.All("Proxy-Authenticate")))
		require.Len(t, all, 2, res.String())
		require.Contains(t, strings.Join(all, ""), `"b"`)
		require.Contains(t, strings.Join(all, ""), `"c"`)
	}
	handlers := map[string]func(k *siptest.Kit) sipproxy.HandlerFunc{
		"branches": func(k *siptest.Kit) sipproxy.HandlerFunc { return forks(k, "192.0.2.20", "192.0.2.30") },
		"forwards": func(k *siptest.Kit) sipproxy.HandlerFunc {
			return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				r.Forward(ctx, at(k, r, "192.0.2.20"))
				return r.Forward(ctx, at(k, r, "192.0.2.30"))
			}
		},
		"its own": func(k *siptest.Kit) sipproxy.HandlerFunc {
			return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				r.Forward(ctx, at(k, r, "192.0.2.20"))
				res := r.Reply(407)
				res.Add("Proxy-Authenticate", `Digest realm="c", nonce="n"`)
				return res
			}
		},
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				serve(t, k, h(k))
				alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
				bob.OnCall(challenge(401, "WWW-Authenticate", "b"))
				carol.OnCall(challenge(407, "Proxy-Authenticate", "c"))
				check(t, alice.Invite(t, "sip:bob@example.com").Expect(401, 407))
			})
		})
	}
}

// Contract 1: a received 503 is told to the handler and becomes a 500 only upstream; a 503 of the handler's own stays one.
func TestServiceUnavailable(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		seen := 0
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.URI.User == "us" {
				return r.Reply(503)
			}
			res := r.Forward(ctx, at(k, r, "192.0.2.20"))
			seen = res.Code
			require.NoError(t, res.Cause)
			return res
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Refuse(503)
		alice.Invite(t, "sip:bob@example.com").Expect(500)
		require.Equal(t, 503, seen)
		alice.Invite(t, "sip:us@example.com").Expect(503)
	})
}

// §16.7 step 5: every 2xx of a forked INVITE goes upstream, also after the handler has returned, and its copies with it.
func TestSeveral2xx(t *testing.T) {
	for _, hooked := range []bool{false, true} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				if hooked {
					r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) { res.Set("X-Hook", "yes") })
				}
				return r.Forward(ctx, ats(k, r, "192.0.2.20", "192.0.2.30")...)
			})
			alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
			bob.Silent()
			carol.Silent()
			call := alice.Invite(t, "sip:bob@example.com")
			b, c := bob.Incoming(t), carol.Incoming(t)
			k.Network.SetLink("192.0.2.20", "192.0.2.101", siptest.Link{Delay: 3 * time.Second})
			b.Answer() // crosses the CANCEL, and its first copies
			c.Answer()
			first := call.Expect(200)
			call.Ack()
			other := call.Fork()
			other.Ack()
			other.Bye()
			call.Bye()
			require.Equal(t, hooked, first.Has("X-Hook"))
		})
	}
}

// RFC 6026 §8.7, contract 1: a 2xx after another final response went up still goes upstream.
func TestSuccessAfterFailure(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.InDialog() {
				return r.Forward(ctx)
			}
			t := at(k, r, "192.0.2.20")
			t.Trying = time.Second
			return r.Forward(ctx, t)
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		invite := raw(k, "INVITE", "sip:bob@example.com")
		alice.Send(invite)
		b := bob.Incoming(t)
		require.Equal(t, 100, response(t, alice.Receive()).Code)
		failed := response(t, alice.Receive())
		require.Equal(t, 408, failed.Code)
		via := request(t, invite).Get("Via")
		alice.Send(raw(k, "ACK", "sip:bob@example.com", "Via", via, "Call-ID", failed.CallID(), "To", failed.Get("To")))
		b.Answer()
		answered := response(t, alice.Receive())
		require.Equal(t, 200, answered.Code)
		alice.Send(raw(k, "ACK", bob.Contact(), "Call-ID", failed.CallID(), "To", answered.Get("To")))
		b.ExpectAck()
	})
}

// Contract 1: a 2xx of an earlier Forward, while a later one is in progress, ends that one and is what it returns.
func TestLate2xxEndsTheNextForward(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		got, again := 0, 0
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			first := at(k, r, "192.0.2.20")
			first.Trying = time.Second
			require.Equal(t, 408, r.Forward(ctx, first).Code)
			res := r.Forward(ctx, at(k, r, "192.0.2.30"))
			got = res.Code
			again = r.Forward(ctx, at(k, r, "192.0.2.40")).Code
			return res
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		dave := k.Phone("dave", "192.0.2.40")
		bob.Silent()
		carol.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		call.Expect(180)
		b.Answer()
		call.Expect(200)
		call.Ack()
		carol.Incoming(t).ExpectCancel()
		dave.NoCall(t, time.Minute)
		call.Bye()
		require.Equal(t, 200, got)
		require.Equal(t, 200, again, "answered is final")
	})
}

// §16.7 step 3: a response without a Via above ours was not for us.
func TestResponseWithTooFewVias(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		stripped := func(res *sip.Response) {
			top, _ := res.Via()
			res.Del("Via")
			res.PushVia(top)
		}
		call.Expect(100)
		b.Respond(180, stripped)
		call.Nothing(time.Second)
		require.EqualValues(t, 1, s.Stats().StrayResponses)
		b.Answer()
		call.Expect(200)
		call.Ack()
		// A second callee behind a fork of the other side, after the first has won (RFC 6026).
		one := b.Invitation()
		text := "SIP/2.0 200 OK\r\nVia: " + one.Get("Via") + "\r\nFrom: " + one.Get("From") + "\r\nTo: " + one.Get("To") + ";tag=else\r\n" +
			"Call-ID: " + one.CallID() + "\r\nCSeq: 1 INVITE\r\nContact: <sip:x@192.0.2.20>\r\nContent-Length: 0\r\n\r\n"
		bob.Send(text)
		call.Nothing(time.Second)
		require.EqualValues(t, 2, s.Stats().StrayResponses)
		call.Bye()
	})
}

// REQUIREMENTS 121, §16.7 step 4: 3xx recursion by Branch.Fork; a 3xx whose contacts are all followed does not count.
func TestRecursion(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnResponse(func(b *sipproxy.Branch, res *sip.Response) {
				if res.Code/100 != 3 {
					return
				}
				for c := range res.Contacts() {
					b.Fork(sipproxy.Target{URI: c.URI})
				}
				res.Del("Contact")
			})
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		carol, dave := k.Phone("carol", "192.0.2.30"), k.Phone("dave", "192.0.2.40")
		p := ";transport=" + k.Proto.String()
		bob.Redirect(302, "sip:carol@192.0.2.30"+p, "sip:dave@192.0.2.40"+p)
		carol.Refuse(486)
		dave.AnswerAfter(time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		call.Bye()

		dave.Refuse(404)
		alice.Invite(t, "sip:bob@example.com").Expect(486, 404)
	})
}

// DESIGN section 2, Branch.Fork: try C while B rings.
func TestForkWhileRinging(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			once := true
			r.OnResponse(func(b *sipproxy.Branch, res *sip.Response) {
				if res.Code == 180 && once {
					once = false
					b.Fork(at(k, r, "192.0.2.30"))
				}
			})
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Ring()
		carol.AnswerAfter(time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		bob.Incoming(t).ExpectCancel()
		call.Bye()
	})
}

// RFC 4320: no provisional response but a 100 to other methods than INVITE, and that only late; never a 408; one final.
func TestNonInvite(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Raw()
		tx := alice.Request(t, sip.MESSAGE, "sip:bob@example.com")
		req := request(t, bob.Receive())
		say := func(code int) {
			res := sip.NewResponse(req, code, "", "bob")
			bob.Send(res.String())
		}
		say(183)
		tx.Nothing(2 * time.Second)
		require.Equal(t, 100, tx.Expect(100).Code)
		say(408)
		tx.Nothing(time.Minute)
		require.EqualValues(t, 1, s.Stats().Silenced)

		start := time.Now()
		tx = alice.Request(t, sip.MESSAGE, "sip:bob@example.com") // nobody answers
		tx.Expect(100)
		require.GreaterOrEqual(t, since(start), 3500*time.Millisecond)
		tx.Nothing(time.Minute)
		k.Sleep(time.Minute)
		require.EqualValues(t, 2, s.Stats().Silenced)
	})
}

// Contract 1: 100 at the first Forward at once, else when the handler still runs after 200 ms.
func TestTrying(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.URI.User == "slow" {
				sipproxy.Block(ctx, func() { time.Sleep(300 * time.Millisecond) })
				return r.Reply(486)
			}
			if r.URI.User == "quick" {
				return r.Reply(486)
			}
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice := k.Phone("alice", "192.0.2.10")
		k.Phone("bob", "192.0.2.20").Silent()
		start := time.Now()
		call := alice.Invite(t, "sip:slow@example.com")
		call.Expect(100)
		require.GreaterOrEqual(t, since(start), 200*time.Millisecond)
		require.Less(t, since(start), 300*time.Millisecond)
		call.Expect(486)
		start = time.Now()
		alice.Invite(t, "sip:bob@example.com").Expect(100)
		require.Zero(t, since(start))
		call = alice.Invite(t, "sip:quick@example.com")
		call.Expect(486, 100)
		require.Zero(t, since(start))
	})
}

// Contract 2: what a handler may return, and what is made of it.
func TestHandlerReturns(t *testing.T) {
	cases := []struct {
		name string
		f    func(ctx context.Context, r *sipproxy.Request) *sip.Response
		code int
		stat func(sipproxy.Stats) uint64
	}{
		{"nil", func(context.Context, *sipproxy.Request) *sip.Response { return nil }, 500, func(s sipproxy.Stats) uint64 { return s.BadReturns }},
		{"provisional", func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(183) }, 500,
			func(s sipproxy.Stats) uint64 { return s.BadReturns }},
		{"panic", func(context.Context, *sipproxy.Request) *sip.Response { panic("x") }, 500, func(s sipproxy.Stats) uint64 { return s.Panics }},
		{"panic in Block", func(ctx context.Context, _ *sipproxy.Request) *sip.Response {
			sipproxy.Block(ctx, func() { time.Sleep(time.Second); panic("x") })
			return nil
		}, 500, func(s sipproxy.Stats) uint64 { return s.Panics }},
		{"Fail", func(ctx context.Context, r *sipproxy.Request) *sip.Response { return r.Fail(ctx, context.Canceled) }, 500, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				s := serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					if r.URI.User == "x" {
						return c.f(ctx, r)
					}
					return r.Forward(ctx, at(k, r, "192.0.2.20"))
				})
				alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				call := alice.Invite(t, "sip:x@example.com")
				call.Expect(c.code)
				call.Nothing(time.Minute)
				alice.Request(t, sip.MESSAGE, "sip:x@example.com").Expect(c.code)
				if c.stat != nil {
					require.EqualValues(t, 2, c.stat(s.Stats()))
				}
				good(t, alice, bob)
			})
		})
	}
}

// Contract 2: NoReply is silence that absorbs the copies.
func TestNoReply(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response { return sipproxy.NoReply })
		alice := k.Phone("alice", "192.0.2.10")
		for _, m := range []string{"INVITE", "OPTIONS"} {
			text := raw(k, m, "sip:scan@example.com")
			for range 3 {
				alice.Send(text)
				alice.Silence(10 * time.Second)
			}
		}
		require.EqualValues(t, 2, s.Stats().Requests)
		require.EqualValues(t, 2, s.Stats().Silenced)
	})
}

// Contract 1: a 2xx that the handler makes itself is sent again until its ACK, which reaches the handler.
func TestOwn2xxIsRetransmitted(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		acks := 0
		s := serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Method == sip.ACK {
				acks++
				require.Nil(t, r.Reply(200))
				return r.Reply(200)
			}
			res := r.Reply(200)
			res.Set("Contact", "<sip:192.0.2.101;transport="+k.Proto.String()+">")
			return res
		})
		alice := k.Phone("alice", "192.0.2.10")
		call := alice.Invite(t, "sip:voicemail@example.com")
		call.Expect(200)
		k.Sleep(10 * time.Second)
		require.GreaterOrEqual(t, s.Stats().Transactions.Retransmitted, uint64(4))
		call.Ack()
		k.Sleep(time.Second)
		n := s.Stats().Transactions.Retransmitted
		k.Sleep(time.Minute)
		require.Equal(t, n, s.Stats().Transactions.Retransmitted)
		require.Equal(t, 1, acks)
		require.Zero(t, s.Stats().Unsent)
		call.Bye()
	})
}

// Responses to what the engine made itself and to what the next hop said carry one To tag per final; copies are the same bytes.
func TestOneToTag(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(404) })
		alice := k.Phone("alice", "192.0.2.10")
		text := raw(k, "MESSAGE", "sip:nobody@example.com")
		alice.Send(text)
		first := alice.Receive()
		alice.Send(text)
		require.Equal(t, first, alice.Receive())
	})
}
