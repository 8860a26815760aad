package sipproxy_test

import (
	"context"
	"errors"
	"slices"
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

// §9.1, §16.10: a CANCEL goes out only once a 1xx has come, to every branch that rings, and carries the caller's Reason.
func TestCancelOfAFork(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := serve(t, k, forks(k, "192.0.2.20", "192.0.2.30", "192.0.2.40"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		mute, busy := k.Phone("mute", "192.0.2.30"), k.Phone("busy", "192.0.2.40")
		bob.Ring()
		mute.Silent()
		busy.Refuse(486)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		m := mute.Incoming(t)
		call.Cancel(func(r *sip.Request) {
			r.Add("Reason", "SIP;cause=600")
			r.Add("Reason", "Q.850;cause=17") // one for each protocol (RFC 3326 §2)
		})
		cancel := bob.Incoming(t).ExpectCancel()
		require.Equal(t, "SIP;cause=600, Q.850;cause=17", cancel.Get("Reason"), "§7.3.1")
		require.Len(t, slices.Collect(cancel.Values("Via")), 1, "§9.1")
		call.Nothing(2 * time.Second) // mute has said nothing, so it is not cancelled yet
		m.Ring()
		call.Expect(180)
		m.ExpectCancel()
		call.Expect(486, 487) // the best of what they gave
		require.EqualValues(t, 1, s.Stats().Canceled)
	})
}

// Contract 3: a branch that never says a word ends by Timer B; the caller gets a 487, no CANCEL goes out.
func TestCancelBeforeAny1xx(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		bob.Incoming(t) // else the CANCEL may find the branch not sent yet, which then never is
		call.Expect(100)
		start := time.Now()
		call.Cancel()
		call.Expect(487)
		require.InDelta(t, 32, since(start).Seconds(), 1)
		require.False(t, strings.Contains(k.Ladder.String(), "CANCEL sip:bob@192.0.2.20"))
	})
}

// Contract 3: cancelled is final: further Forwards return 487 at once, with any context.
func TestCancelledIsFinal(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var codes []int
		var cause error
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			res := r.Forward(ctx, at(k, r, "192.0.2.20"))
			start := time.Now()
			codes = append(codes, res.Code, r.Forward(ctx, at(k, r, "192.0.2.30")).Code,
				r.Forward(context.WithoutCancel(ctx), at(k, r, "192.0.2.30")).Code,
				r.ForwardInTurn(ctx, ats(k, r, "192.0.2.30", "192.0.2.40")...).Code)
			require.Zero(t, since(start))
			require.Error(t, ctx.Err())
			cause = context.Cause(ctx)
			return res
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		carol.NoCall(t, time.Minute)
		require.Equal(t, []int{487, 487, 487, 487}, codes)
		require.ErrorIs(t, cause, context.Canceled)
	})
}

// Contract 3: cancelled while the handler is elsewhere: the handler's Forward never starts.
func TestCancelDuringBlock(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			sipproxy.Block(ctx, func() { <-ctx.Done() })
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(100)
		start := time.Now()
		call.Cancel()
		call.Expect(487)
		require.Zero(t, since(start))
		bob.NoCall(t, time.Minute)
	})
}

// Contract 3, §16.10: the 200 that crosses the CANCEL wins.
func TestCancelCrosses200(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.SetLink("192.0.2.20", "192.0.2.101", siptest.Link{Delay: 300 * time.Millisecond})
		k.Network.SetLink("192.0.2.101", "192.0.2.20", siptest.Link{Delay: 200 * time.Millisecond})
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		b.Ring()
		call.Expect(180)
		b.Answer()
		call.Cancel()
		call.Expect(200)
		call.Ack()
		b.ExpectCancel()
		call.Bye()
	})
}

// REQUIREMENTS 32 and J 9: a CANCEL with a To tag is matched all the same.
func TestCancelWithToTag(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Ring()
		invite := raw(k, "INVITE", "sip:bob@example.com")
		alice.Send(invite)
		require.Equal(t, 100, response(t, alice.Receive()).Code)
		ringing := response(t, alice.Receive())
		via := request(t, invite).Get("Via")
		alice.Send(raw(k, "CANCEL", "sip:bob@example.com", "Via", via, "Call-ID", ringing.CallID(), "To", ringing.Get("To")))
		codes := map[string]int{}
		for range 2 {
			res := response(t, alice.Receive())
			_, m, _ := res.CSeq()
			codes[string(m)] = res.Code
		}
		require.Equal(t, map[string]int{"CANCEL": 200, "INVITE": 487}, codes)
		alice.Send(raw(k, "ACK", "sip:bob@example.com", "Via", via, "Call-ID", ringing.CallID(), "To", ringing.Get("To")))
	})
}

// §9.2: a CANCEL for nothing is a 481; its copies are answered alike. With a Route beyond ours it is forwarded without state (§16.10).
func TestCancelForNothing(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(forks(k, "192.0.2.20"))})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		cancel := raw(k, "CANCEL", "sip:bob@example.com")
		for range 2 {
			alice.Send(cancel)
			require.Equal(t, 481, response(t, alice.Receive()).Code)
		}
		bob.Raw()
		bob.Silence(time.Second)
	})
}

func TestCancelWithRouteBeyondOurs(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		p := ";transport=" + k.Proto.String()
		rt := recordroute.Router{Foreign: recordroute.Follow}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{rt.Middleware}.ThenFunc(forks(k, "192.0.2.30"))})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Raw()
		alice.Send(raw(k, "CANCEL", "sip:x@192.0.2.30", "Route", "<sip:192.0.2.101;lr>, <sip:192.0.2.20;lr"+p+">"))
		req := request(t, bob.Receive())
		require.Equal(t, "<sip:192.0.2.20;lr"+p+">", req.Get("Route"))
		bob.Send(sip.NewResponse(req, 481, "", "b").String())
		require.Equal(t, 481, response(t, alice.Receive()).Code)
		alice.Silence(time.Minute)
	})
}

// §16.10 through recordroute: the CANCEL of a re-INVITE that has ended already follows the route set.
func TestLateCancelOfAReinvite(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(forks(k, "192.0.2.102"))})
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(forks(k, "192.0.2.20"))})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		call := alice.Call(t, "sip:bob@example.com")
		bob.Incoming(t).ExpectAck()
		tx := call.Start(sip.INVITE)
		tx.Expect(200)
		tx.Ack()
		k.Sleep(time.Minute) // the transactions are gone
		inv := tx.Request()
		routes := ""
		for v := range inv.Values("Route") {
			routes += ", " + v
		}
		alice.Send(raw(k, "CANCEL", inv.URI.String(), "Via", inv.Get("Via"), "Route", routes[2:], "From", inv.Get("From"), "To", inv.Get("To"),
			"Call-ID", inv.CallID(), "CSeq", strings.Replace(inv.Get("CSeq"), "INVITE", "CANCEL", 1)))
		require.Equal(t, 481, response(t, alice.Receive()).Code)
		call.Bye()
	})
}

// §9.2: a CANCEL of another method's transaction is answered and changes nothing.
func TestCancelOfNonInvite(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Raw()
		msg := raw(k, "MESSAGE", "sip:bob@example.com")
		m := request(t, msg)
		alice.Send(msg)
		got := request(t, bob.Receive())
		alice.Send(raw(k, "CANCEL", "sip:bob@example.com", "Via", m.Get("Via"), "Call-ID", m.CallID()))
		require.Equal(t, 200, response(t, alice.Receive()).Code)
		bob.Send(sip.NewResponse(got, 200, "", "b").String())
		require.Equal(t, 200, response(t, alice.Receive()).Code)
		bob.Silence(100 * time.Millisecond)
	})
}

// Copies of a CANCEL over a lossy link are absorbed, and cancel once.
func TestCancelCopies(t *testing.T) {
	for seed := range uint64(10) {
		siptest.Suite{Protos: []transport.Proto{transport.UDP}, Seed: seed}.Run(t, func(t *testing.T, k *siptest.Kit) {
			k.Network.SetLink("", "", siptest.Link{Delay: 5 * time.Millisecond, Loss: 0.2, Duplicate: 0.4, Reorder: 0.2})
			s := serve(t, k, forks(k, "192.0.2.20", "192.0.2.30"))
			alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
			bob.Ring()
			carol.Ring()
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(180)
			call.Cancel()
			bob.Incoming(t).ExpectCancel()
			carol.Incoming(t).ExpectCancel()
			for call.Final().Code != 487 {
				require.Fail(t, "not 487")
			}
			require.EqualValues(t, 1, s.Stats().Canceled)
		})
	}
}

// Contract 4: a context cancelled by a middleware acts as a CANCEL with the code of its cause, else 487.
func TestContextCancelled(t *testing.T) {
	for _, cause := range []error{nil, sipproxy.Code(480), errors.New("other"), sipproxy.Code(200)} {
		want := 487
		if cause == sipproxy.Code(480) {
			want = 480
		}
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				ctx, cancel := context.WithCancelCause(ctx)
				timer := time.AfterFunc(5*time.Second, func() { cancel(cause) })
				defer timer.Stop()
				defer cancel(nil)
				return r.Forward(ctx, ats(k, r, "192.0.2.20", "192.0.2.30")...)
			})
			alice, bob, mute := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("mute", "192.0.2.30")
			bob.Ring()
			mute.Silent()
			start := time.Now()
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(180)
			call.Expect(want)
			require.Equal(t, 5*time.Second, since(start).Truncate(time.Second))
			bob.Incoming(t).ExpectCancel()
		})
	}
}

// Contract 4: a deadline on ctx is the ring time-out: 408, CANCEL where it rang, a late 1xx elsewhere is answered with CANCEL, and
// the handler goes on to voicemail with a living context.
func TestDeadlineIsRingTimeout(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			ring, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			res := r.Forward(ring, ats(k, r, "192.0.2.20", "192.0.2.30")...)
			require.Equal(t, 408, res.Code)
			require.Error(t, res.Cause)
			require.Equal(t, 408, r.Forward(ring, at(k, r, "192.0.2.40")).Code)
			return r.Forward(ctx, at(k, r, "192.0.2.40"))
		})
		alice, bob, mute := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("mute", "192.0.2.30")
		voicemail := k.Phone("voicemail", "192.0.2.40")
		bob.Ring()
		mute.Silent()
		start := time.Now()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(180) // of voicemail
		call.Expect(200)
		require.Equal(t, 20*time.Second, since(start).Truncate(time.Second))
		call.Ack()
		bob.Incoming(t).ExpectCancel()
		m := mute.Incoming(t)
		m.Ring()
		m.ExpectCancel()
		voicemail.Incoming(t).ExpectAck()
		call.Bye()
	})
}

// Contract 4: a callee that ignores the CANCEL holds the Forward for 64*T1 and no longer.
func TestCancelIgnored(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			ring, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return r.Forward(ring, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Raw()
		call := alice.Invite(t, "sip:bob@example.com")
		req := request(t, bob.Receive())
		res := sip.NewResponse(req, 180, "", "b")
		bob.Send(res.String())
		start := time.Now()
		call.Expect(180)
		call.Expect(408)
		require.InDelta(t, 42, since(start).Seconds(), 1)
	})
}

// Contract 4: when the deadline has passed no alternative is begun any more, whatever the branches end with.
func TestNoElseAfterTheDeadline(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			ring, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			t := at(k, r, "192.0.2.20")
			t.Else = ats(k, r, "192.0.2.30")
			return r.Forward(ring, t)
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Raw()
		call := alice.Invite(t, "sip:bob@example.com")
		invite := request(t, bob.Receive())
		bob.Send(sip.NewResponse(invite, 180, "", "b").String())
		call.Expect(180)
		cancel := request(t, bob.Receive())
		bob.Send(sip.NewResponse(cancel, 200, "", "b").String())
		bob.Send(sip.NewResponse(invite, 503, "", "b").String())
		call.Expect(500, 408)
		carol.NoCall(t, time.Minute)
	})
}

// Request.Cancel is the caller's CANCEL by our own hand, from any goroutine: the code is the handler's choice, and a second one finds nothing.
func TestCancelByUs(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		requests := make(chan *sipproxy.Request, 1)
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			requests <- r
			res := r.Forward(ctx, ats(k, r, "192.0.2.20", "192.0.2.30")...)
			if res.Code != 487 || r.Forward(ctx, at(k, r, "192.0.2.40")).Code != 487 || ctx.Err() == nil {
				return r.Reply(500)
			}
			return r.Reply(503)
		})
		alice, bob, carol, dave := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30"), k.Phone("dave", "192.0.2.40")
		bob.Ring()
		carol.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		late := carol.Incoming(t) // a branch that has not been sent when the CANCEL comes vanishes
		r := <-requests
		require.True(t, r.Cancel("SIP;cause=503"))
		require.False(t, r.Cancel(""))
		require.Equal(t, "SIP;cause=503", bob.Incoming(t).ExpectCancel().Get("Reason"))
		late.Ring()
		late.ExpectCancel()
		call.Expect(180)
		call.Expect(503)
		require.False(t, r.Cancel(""))
		dave.NoCall(t, time.Minute)
	})
}

// Request.Cancel has nothing to do for other methods, nor once a 2xx has gone up.
func TestCancelByUsOfNothing(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		requests := make(chan *sipproxy.Request, 2)
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			res := r.Forward(ctx, at(k, r, "192.0.2.20"))
			requests <- r
			require.False(t, r.Cancel(""))
			return res
		})
		alice := k.Phone("alice", "192.0.2.10")
		k.Phone("bob", "192.0.2.20")
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(200)
		require.False(t, (<-requests).Cancel(""))
		alice.Call(t, "sip:bob@example.com")
		require.False(t, (<-requests).Cancel(""))
	})
}
