package dialog_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// TestFork: every callee of a fork that answers has a dialog of its own, with START and STOP; early ones of the others vanish.
func TestFork(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP, carolIP, "192.0.2.40")
		alice, bob, carol, dave := k.Phone("alice", aliceIP), k.Phone("bob", bobIP), k.Phone("carol", carolIP), k.Phone("dave", "192.0.2.40")
		late := func(c *siptest.Call) { // answers although the CANCEL has come
			c.Ring()
			time.Sleep(time.Second)
			c.Answer()
		}
		bob.OnCall(late)
		carol.OnCall(late)
		dave.Ring()
		delay := siptest.Link{Delay: 200 * time.Millisecond} // both answers are under way when the first arrives
		k.Network.SetLink(bobIP, "", delay)
		k.Network.SetLink(carolIP, "", delay)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(180)
		call.Expect(180)
		settle()
		require.Equal(t, 3, tr.Stats().Early)
		require.Len(t, tr.ByCallID(call.ID()), 3)
		call.Expect(200)
		call.Ack()
		second := call.Fork()
		second.Ack()
		settle()
		require.Equal(t, "START START", b.kinds())
		require.NotEqual(t, b.events()[0].ID, b.events()[1].ID)
		require.Equal(t, 2, tr.Stats().Live)
		require.Zero(t, tr.Stats().Early)
		dave.Incoming(t).ExpectCancel()
		second.Bye()
		call.Bye()
		settle()
		require.Equal(t, "START START STOP STOP", b.kinds())
		require.NotEqual(t, b.events()[2].ID, b.events()[3].ID)
		empty(t, tr)
	})
}

// TestLimit: beyond Max calls get 503 with Retry-After; those in progress count, and room comes back.
func TestLimit(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, func(tr *dialog.Tracker) { tr.Max, tr.RetryAfter = 2, 7*time.Second }, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		settle()
		res := alice.Invite(t, "sip:bob@example.com").Expect(503)
		require.Equal(t, "7", res.Get("Retry-After"))
		require.EqualValues(t, 1, tr.Stats().Limited)
		require.Empty(t, b.kinds())
		call.Cancel()
		call.Expect(487)
		settle()
		bob.Answer()
		call = alice.Call(t, "sip:bob@example.com")
		call.Bye()
		settle()
		require.Equal(t, "CANCELLED START STOP", b.kinds())
		empty(t, tr)
	})
}

// TestAge: a dialog whose BYE never comes is forgotten after MaxAge; with Hangup both parties are told.
func TestAge(t *testing.T) {
	for _, hangup := range []bool{false, true} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			tr, b := run(t, k, func(tr *dialog.Tracker) { tr.MaxAge, tr.Hangup = time.Hour, hangup }, bobIP)
			alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
			call := alice.Call(t, "sip:bob@example.com")
			in := bob.Incoming(t)
			in.ExpectAck()
			time.Sleep(time.Hour - time.Second)
			require.True(t, tr.Busy())
			time.Sleep(2 * time.Second)
			require.Equal(t, "START STOP", b.kinds())
			stop := b.events()[1]
			require.Equal(t, "max age", stop.Reason)
			require.Equal(t, dialog.Proxy, stop.By)
			require.Equal(t, time.Hour, stop.Duration.Round(time.Second))
			require.EqualValues(t, 1, tr.Stats().Expired)
			empty(t, tr)
			if hangup {
				require.Contains(t, call.ExpectBye().Get("Reason"), "max age")
				in.ExpectBye()
				return
			}
			call.Bye() // passes, and is counted
			in.ExpectBye()
			settle()
			require.EqualValues(t, 1, tr.Stats().UnknownBye)
			require.Equal(t, "START STOP", b.kinds())
		})
	}
}

// TestSessionTimer: Session-Expires in the 2xx bounds the age, and every refresh starts it anew (RFC 4028).
func TestSessionTimer(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		bob.EditResponse = func(r *sip.Response) {
			if _, m, _ := r.CSeq(); m == sip.INVITE && r.IsSuccess() {
				r.Add("Session-Expires", "1800;refresher=uac")
			}
		}
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		for range 3 {
			time.Sleep(25 * time.Minute)
			call.Reinvite()
			in.ExpectRequest(sip.INVITE)
			in.ExpectAck()
		}
		time.Sleep(30 * time.Minute)
		require.Equal(t, "START", b.kinds())
		time.Sleep(time.Minute)
		require.Equal(t, "START STOP", b.kinds())
		require.Equal(t, "session timer", b.events()[1].Reason)
		empty(t, tr)
	})
}

// TestProbe: a party that knows nothing of the call any more, or is silent, has ended it.
func TestProbe(t *testing.T) {
	for what, die := range map[string]func(*siptest.Kit, *siptest.Phone){
		"481": func(k *siptest.Kit, p *siptest.Phone) { // it has restarted
			p.Close()
			k.Phone("bob", bobIP)
		},
		"silent": func(k *siptest.Kit, p *siptest.Phone) { k.Network.Partition(p.Addr().Addr().String()) },
	} {
		t.Run(what, func(t *testing.T) {
			siptest.Suite{Protos: udpOnly}.Run(t, func(t *testing.T, k *siptest.Kit) {
				tr, b := run(t, k, func(tr *dialog.Tracker) { tr.Probe = 10 * time.Minute }, bobIP)
				alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
				alice.Lenient, bob.Lenient = true, true // the probe repeats a CSeq
				call := alice.Call(t, "sip:bob@example.com")
				in := bob.Incoming(t)
				in.ExpectAck()
				time.Sleep(time.Hour)
				require.Equal(t, "START", b.kinds())
				die(k, bob)
				time.Sleep(30 * time.Minute)
				require.Equal(t, "START STOP", b.kinds())
				require.Equal(t, "party gone", b.events()[1].Reason)
				require.EqualValues(t, 1, tr.Stats().Dead)
				require.True(t, call.Ended())
				empty(t, tr)
			})
		})
	}
}

// TestLight: START and STOP come from what the handler returns.
func TestLight(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, func(tr *dialog.Tracker) { tr.Light = true }, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		settle()
		require.Equal(t, 1, tr.Stats().Live)
		require.NoError(t, tr.End(t.Context(), tr.ByCallID(call.ID())[0].ID, ""))
		call.ExpectBye()
		in.ExpectBye()
		bob.Refuse(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486)
		settle()
		require.Equal(t, "START STOP MISSED", b.kinds())
		empty(t, tr)
	})
}

// TestStateless: what is handled without state is not followed.
func TestStateless(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr := &dialog.Tracker{}
		k.Server(t, &sipproxy.Server{
			Accept:  func(*sipproxy.Request) sipproxy.Mode { return sipproxy.Stateless },
			Handler: sipproxy.Chain{tr.Middleware}.ThenFunc(fork(bobIP)),
		})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		call.Bye()
		in.ExpectBye()
		require.Equal(t, dialog.Stats{}, tr.Stats())
	})
}

// TestByeFails: STOP although nobody answers the BYE (REQUIREMENTS 36).
func TestByeFails(t *testing.T) {
	siptest.Suite{Protos: udpOnly}.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		bob.Incoming(t).ExpectAck()
		k.Network.Partition(bobIP)
		time.Sleep(time.Minute)
		call.Start(sip.BYE)
		time.Sleep(40 * time.Second)
		require.Equal(t, "START STOP", b.kinds())
		require.Equal(t, time.Minute, b.events()[1].Duration.Round(time.Second), "until the BYE came, not until it failed")
		require.Zero(t, b.events()[1].Code)
		empty(t, tr)
	})
}

// TestByeChallenged: a challenge to the BYE ends nothing, neither does a BYE that is refused here.
func TestByeChallenged(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		code := 407
		bob.Serve = func(_ *siptest.Call, r *sip.Request) *sip.Response {
			return sip.NewResponse(r, code, "", "")
		}
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		call.Start(sip.BYE).Expect(407)
		in.ExpectBye()
		settle()
		require.Equal(t, "START", b.kinds())
		call.Start(sip.BYE, func(r *sip.Request) { r.Del("Route") }).Expect(404)
		settle()
		require.Equal(t, "START", b.kinds())
		code = 481
		call.Start(sip.BYE).Expect(481)
		settle()
		require.Equal(t, "START STOP", b.kinds())
		require.Equal(t, 481, b.events()[1].Code)
		empty(t, tr)
	})
}

// TestGlare: both hang up at once; a BYE of ours crosses theirs. One STOP.
func TestGlare(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		k.Network.SetLink("", "", siptest.Link{Delay: 50 * time.Millisecond})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		alice.Lenient, bob.Lenient = true, true // our BYE may overtake one with its number
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		id := tr.ByCallID(call.ID())[0].ID
		call.Start(sip.BYE)
		in.Start(sip.BYE)
		time.Sleep(60 * time.Millisecond)
		_ = tr.End(t.Context(), id, "")
		time.Sleep(time.Second)
		require.Equal(t, "START STOP", b.kinds())
		empty(t, tr)
	})
}

// TestEarlyBye: the caller may end an early dialog by BYE; should the 2xx cross with it, START and STOP come together.
func TestEarlyBye(t *testing.T) {
	for _, crosses := range []bool{false, true} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			tr, b := run(t, k, nil, bobIP)
			alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
			end := make(chan int)
			bob.OnCall(func(c *siptest.Call) {
				c.Ring()
				if code := <-end; code == 200 {
					c.Answer()
				} else {
					c.Refuse(code)
				}
			})
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(180)
			in := bob.Incoming(t)
			call.Start(sip.BYE).Expect(200)
			in.ExpectBye()
			settle()
			require.Zero(t, tr.Stats().Early)
			require.Equal(t, 1, tr.Stats().Pending)
			if crosses {
				end <- 200
				call.Expect(200)
				call.Ack()
				settle()
				require.Equal(t, "START STOP", b.kinds())
				require.Equal(t, dialog.Caller, b.events()[1].By)
				require.Zero(t, b.events()[1].Duration)
			} else {
				end <- 487
				call.Expect(487)
				settle()
				require.Equal(t, "CANCELLED", b.kinds())
			}
			empty(t, tr)
		})
	}
}

// TestEndThroughProxies: the BYEs of the middle proxy go along the route sets on both sides.
func TestEndThroughProxies(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		next := func(host string) sipproxy.Handler {
			return sipproxy.Chain{recordroute.Middleware}.ThenFunc(fork(host))
		}
		k.Server(t, &sipproxy.Server{Handler: next("192.0.2.102")})
		b := &book{}
		tr := &dialog.Tracker{OnEvent: b.note}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware, recordroute.Middleware}.ThenFunc(fork("192.0.2.103"))})
		k.Server(t, &sipproxy.Server{Handler: next("192.0.2.104")})
		k.Server(t, &sipproxy.Server{Handler: next(bobIP)})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		vias := func(r *sip.Request) (n int) {
			for range r.Vias() {
				n++
			}
			return n
		}
		require.NoError(t, tr.End(t.Context(), tr.ByCallID(call.ID())[0].ID, ""))
		require.Equal(t, 2, vias(call.ExpectBye()), "through the first proxy")
		require.Equal(t, 3, vias(in.ExpectBye()), "through the third and the fourth")
		require.Equal(t, "START STOP", b.kinds())
	})
}

// TestEndBehindNAT: a party whose Contact is private is reached by the way its messages came.
func TestEndBehindNAT(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, _ := run(t, k, nil, bobIP)
		box := k.Network.NAT(siptest.NAT{Public: "203.0.113.1"})
		alice, bob := k.PhoneAt(box.Host("10.0.0.5"), "alice"), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		require.NoError(t, tr.End(t.Context(), tr.ByCallID(call.ID())[0].ID, "enough"))
		call.ExpectBye()
		in.ExpectBye()
	})
}

// TestRefresh: a re-INVITE moves the remote target, and CSeq of both sides is followed.
func TestRefresh(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, _ := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		alice.Lenient = true
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		k.Network.Host(aliceIP, "2001:db8::10")
		moved := "<sip:alice@" + aliceIP + ":5060;ob>"
		call.Reinvite(func(r *sip.Request) { r.Set("Contact", moved) })
		in.ExpectRequest(sip.INVITE)
		in.ExpectAck()
		settle()
		d := tr.ByCallID(call.ID())[0]
		require.Equal(t, moved, d.CallerContact)
		require.EqualValues(t, 2, d.CallerSeq)
		require.NoError(t, tr.End(t.Context(), d.ID, ""))
		require.True(t, call.ExpectBye().URI.Params.Has("ob"))
		in.ExpectBye()
	})
}

// TestEndInHandler: an operator's command that comes as a request.
func TestEndInHandler(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr := &dialog.Tracker{}
		route := fork(bobIP)
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware, recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				if r.Method != sip.MESSAGE {
					return route(ctx, r)
				}
				for d := range tr.ByUser("bob") {
					if tr.End(ctx, d.ID, r.Body()) != nil {
						return r.Reply(500)
					}
				}
				return r.Reply(200)
			})})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		carol := k.Phone("carol", carolIP)
		carol.Request(t, sip.MESSAGE, "sip:end@example.com", func(r *sip.Request) { r.SetBody("text/plain", "Q.850;cause=16") }).Expect(200)
		require.Equal(t, "Q.850;cause=16", call.ExpectBye().Get("Reason"))
		in.ExpectBye()
		empty(t, tr)
	})
}

// TestSpiral: a call that passes through the proxy twice is one call.
func TestSpiral(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		b := &book{}
		tr := &dialog.Tracker{OnEvent: b.note}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware, recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				if r.URI.User == "alias" {
					return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithUser("bob").WithHostPort("192.0.2.101")})
				}
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bobIP)})
			})})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:alias@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		settle()
		require.Equal(t, "START", b.kinds())
		in.Bye()
		call.ExpectBye()
		settle()
		bob.Refuse(486)
		alice.Invite(t, "sip:alias@example.com").Expect(486)
		settle()
		require.Equal(t, "START STOP MISSED", b.kinds())
		empty(t, tr)
	})
}

// TestPanics: a handler or OnEvent that panics leaves nothing behind.
func TestPanics(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr := &dialog.Tracker{OnEvent: func(dialog.Event) { panic("event") }}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware}.ThenFunc(
			func(context.Context, *sipproxy.Request) *sip.Response { panic("handler") })})
		k.Phone("alice", aliceIP).Invite(t, "sip:bob@example.com").Expect(500)
		settle()
		empty(t, tr)
	})
}

// TestLateAnswer: the handler has given up when the 2xx comes. It goes up all the same (contract 4), and the call is one.
func TestLateAnswer(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		b := &book{}
		tr := &dialog.Tracker{OnEvent: b.note}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware, recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bobIP)})
			})})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		alice.Lenient, bob.Lenient = true, true // two finals; nobody acknowledges the second
		bob.OnCall(func(c *siptest.Call) {
			time.Sleep(2 * time.Second)
			c.Answer()
		})
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(408)
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, "MISSED START", b.kinds())
		list := tr.ByCallID(call.ID())
		require.Len(t, list, 1)
		require.NoError(t, tr.End(t.Context(), list[0].ID, ""))
		bob.Incoming(t).ExpectBye()
		require.Equal(t, "MISSED START STOP", b.kinds())
		empty(t, tr)
	})
}

// TestOtherAnswer: what a handler returns after a 2xx has gone up changes nothing.
func TestOtherAnswer(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		b := &book{}
		tr := &dialog.Tracker{OnEvent: b.note}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware, recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bobIP)})
				return r.Reply(500)
			})})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		settle()
		in.Bye()
		call.ExpectBye()
		settle()
		require.Equal(t, "START STOP", b.kinds())
	})
}

// TestOrderOfAges: dialogs end in the order of their times, whatever the order in which they began.
func TestOrderOfAges(t *testing.T) {
	siptest.Suite{Protos: udpOnly}.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		seconds := 0
		bob.EditResponse = func(r *sip.Response) {
			if _, m, _ := r.CSeq(); m == sip.INVITE && r.IsSuccess() {
				r.Add("Session-Expires", strconv.Itoa(seconds))
			}
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		want := map[string]time.Time{}
		var calls []*siptest.Call
		for range 300 {
			seconds = 90 + rnd.IntN(10_000)
			call := alice.Call(t, "sip:bob@example.com")
			bob.Incoming(t).ExpectAck()
			settle()
			want[call.ID()] = tr.ByCallID(call.ID())[0].Expires
			calls = append(calls, call)
		}
		for i := range 100 {
			calls[i].Bye()
			delete(want, calls[i].ID())
		}
		time.Sleep(4 * time.Hour)
		for _, e := range b.events() {
			if at, ok := want[e.CallID]; ok && e.Kind == dialog.Stop {
				require.WithinDuration(t, at, e.Ended, 50*time.Millisecond)
				delete(want, e.CallID)
			}
		}
		require.Empty(t, want)
		empty(t, tr)
	})
}
