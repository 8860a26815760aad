package dialog_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// TestEndWhileRinging: End of one early dialog ends the call: CANCEL to every callee, EndCode to the caller.
func TestEndWhileRinging(t *testing.T) {
	for _, x := range []struct{ code, want int }{{0, 480}, {487, 487}, {503, 503}, {200, 480}, {407, 407}} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			tr, b := run(t, k, func(tr *dialog.Tracker) { tr.EndCode = x.code }, bobIP, carolIP)
			alice, bob, carol := k.Phone("alice", aliceIP), k.Phone("bob", bobIP), k.Phone("carol", carolIP)
			bob.Ring()
			carol.Ring()
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(180)
			call.Expect(180)
			settle()
			list := tr.ByCallID(call.ID())
			require.Len(t, list, 2)
			require.NoError(t, tr.End(t.Context(), list[0].ID, "ended by root"))
			for _, p := range []*siptest.Phone{bob, carol} {
				require.Equal(t, `SIP;text="ended by root"`, p.Incoming(t).ExpectCancel().Get("Reason"))
			}
			call.Expect(x.want)
			require.Equal(t, "CANCELLED", b.kinds())
			e := b.events()[0]
			require.Equal(t, dialog.Proxy, e.By)
			require.Equal(t, "ended by root", e.Reason)
			require.Equal(t, x.want, e.Code)
			require.False(t, e.Ringing.IsZero())
			require.ErrorIs(t, tr.End(t.Context(), list[1].ID, ""), dialog.ErrUnknown)
			empty(t, tr)
		})
	}
}

// TestEndBeforeRinging: a call that nobody has answered yet is named by the caller's tag alone; the CANCEL waits for the first 1xx (§9.1).
func TestEndBeforeRinging(t *testing.T) {
	for _, light := range []bool{false, true} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			tr, b := run(t, k, func(tr *dialog.Tracker) { tr.Light = light }, bobIP)
			alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
			bob.Silent()
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(100)
			in := bob.Incoming(t)
			id := dialog.ID{CallID: call.ID(), CallerTag: call.Invitation().FromTag()}
			require.ErrorIs(t, tr.End(t.Context(), dialog.ID{CallID: call.ID(), CallerTag: "other"}, ""), dialog.ErrUnknown)
			require.NoError(t, tr.End(t.Context(), id, ""))
			in.Ring()
			require.False(t, in.ExpectCancel().Has("Reason"))
			call.Expect(180)
			call.Expect(480)
			require.Equal(t, "CANCELLED", b.kinds())
			require.Equal(t, dialog.Proxy, b.events()[0].By)
			require.ErrorIs(t, tr.End(t.Context(), id, ""), dialog.ErrUnknown)
			empty(t, tr)
		})
	}
}

// TestEndOfCancelled: the caller was first: 487, and the record says so.
func TestEndOfCancelled(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.SetLink(bobIP, "", siptest.Link{Delay: 300 * time.Millisecond})
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		synctest.Wait() // for the proxy to have read it
		require.NoError(t, tr.End(t.Context(), tr.ByCallID(call.ID())[0].ID, "root"))
		bob.Incoming(t).ExpectCancel()
		call.Expect(487)
		require.Equal(t, "CANCELLED", b.kinds())
		require.Equal(t, dialog.Caller, b.events()[0].By)
		empty(t, tr)
	})
}

// TestEndInHandlerWhileRinging: the operator's command comes as a request; the call's own handler, which would go on to the next target, does not.
func TestEndInHandlerWhileRinging(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		b := &book{}
		tr := &dialog.Tracker{OnEvent: b.note}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{tr.Middleware, recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				if r.Method != sip.MESSAGE {
					res := r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bobIP)})
					if res.IsSuccess() {
						return res
					}
					return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(carolIP)})
				}
				for d := range tr.ByUser("bob") {
					if tr.End(ctx, d.ID, r.Body()) != nil {
						return r.Reply(500)
					}
				}
				return r.Reply(200)
			})})
		alice, bob, carol := k.Phone("alice", aliceIP), k.Phone("bob", bobIP), k.Phone("carol", carolIP)
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		carol.Request(t, sip.MESSAGE, "sip:end@example.com", func(r *sip.Request) { r.SetBody("text/plain", "Q.850;cause=16") }).Expect(200)
		require.Equal(t, "Q.850;cause=16", bob.Incoming(t).ExpectCancel().Get("Reason"))
		call.Expect(480)
		carol.NoCall(t, time.Minute)
		require.Equal(t, "CANCELLED", b.kinds())
		empty(t, tr)
	})
}

// crossing rings and ends the call while the 200 of bob is under way.
func crossing(t *testing.T, k *siptest.Kit, tr *dialog.Tracker, alice, bob *siptest.Phone) (call, in *siptest.Call) {
	k.Network.SetLink(bobIP, "", siptest.Link{Delay: 300 * time.Millisecond})
	bob.Silent()
	call = alice.Invite(t, "sip:bob@example.com")
	in = bob.Incoming(t)
	in.Ring()
	call.Expect(180)
	in.Answer()
	id := dialog.ID{CallID: call.ID(), CallerTag: call.Invitation().FromTag()}
	if !tr.Light { // which has no early dialogs
		id = tr.ByCallID(call.ID())[0].ID
	}
	require.NoError(t, tr.End(t.Context(), id, "too late"))
	in.ExpectCancel()
	return call, in
}

// TestEndCrosses200: the 200 that crosses the CANCEL goes up (§16.10), and the call it made is ended behind the ACK.
func TestEndCrosses200(t *testing.T) {
	for _, light := range []bool{false, true} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			tr, b := run(t, k, func(tr *dialog.Tracker) { tr.Light = light }, bobIP)
			alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
			call, in := crossing(t, k, tr, alice, bob)
			call.Expect(200)
			require.Equal(t, "START", b.kinds())
			require.False(t, call.Ended())
			time.Sleep(time.Second)
			call.Ack()
			acked := time.Now()
			in.ExpectAck()
			require.Equal(t, `SIP;text="too late"`, call.ExpectBye().Get("Reason"))
			in.ExpectBye()
			require.Equal(t, "START STOP", b.kinds())
			stop := b.events()[1]
			require.Equal(t, dialog.Proxy, stop.By)
			require.Equal(t, "too late", stop.Reason)
			require.WithinDuration(t, acked, stop.Ended, time.Second)
			require.Zero(t, tr.Stats().Expired)
			empty(t, tr)
		})
	}
}

// TestEndCrosses200WithoutACK: the ACK does not come this way; after 64*T1 both parties get their BYE all the same.
func TestEndCrosses200WithoutACK(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		alice.Lenient, bob.Lenient = true, true
		call, in := crossing(t, k, tr, alice, bob)
		call.Expect(200)
		start := time.Now()
		time.Sleep(31 * time.Second)
		require.False(t, call.Ended())
		time.Sleep(5 * time.Second)
		call.ExpectBye()
		in.ExpectBye()
		require.Equal(t, "START STOP", b.kinds())
		require.WithinDuration(t, start.Add(32*time.Second), b.events()[1].Ended, time.Second)
		empty(t, tr)
	})
}

// TestEndOfSilentCallee: a callee that answers the CANCEL with nothing does not keep the call alive beyond 64*T1 (§9.1).
func TestEndOfSilentCallee(t *testing.T) {
	siptest.Suite{Protos: udpOnly}.Run(t, func(t *testing.T, k *siptest.Kit) {
		tr, b := run(t, k, nil, bobIP)
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		k.Network.Partition(bobIP)
		require.NoError(t, tr.End(t.Context(), tr.ByCallID(call.ID())[0].ID, "root"))
		call.Nothing(31 * time.Second)
		call.Expect(480)
		require.Equal(t, "CANCELLED", b.kinds())
		require.Equal(t, dialog.Proxy, b.events()[0].By)
		empty(t, tr)
	})
}

// TestEndAt2xx: End comes from a hook that sees the 2xx, before that has gone up: no BYE overtakes it.
func TestEndAt2xx(t *testing.T) {
	for _, outside := range []bool{true, false} { // whether the hook runs before the tracker's, or after it
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			b := &book{}
			tr := &dialog.Tracker{OnEvent: b.note}
			var errs []error
			end := func(next sipproxy.Handler) sipproxy.Handler {
				return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					if r.Method == sip.INVITE {
						r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) {
							if res.IsSuccess() {
								errs = append(errs, tr.End(ctx, dialog.ID{CallID: res.CallID(), CallerTag: res.FromTag(), CalleeTag: res.ToTag()}, "at once"))
							}
						})
					}
					return next.ServeSIP(ctx, r)
				})
			}
			chain := sipproxy.Chain{tr.Middleware, end, recordroute.Middleware}
			if outside {
				chain = sipproxy.Chain{end, tr.Middleware, recordroute.Middleware}
			}
			k.Server(t, &sipproxy.Server{Handler: chain.ThenFunc(fork(bobIP))})
			alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
			bob.OnCall(func(c *siptest.Call) { c.Answer() }) // no 180: the tracker hears of the callee by the 2xx
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(100)
			call.Expect(200)
			in := bob.Incoming(t)
			require.False(t, call.Ended())
			call.Ack()
			in.ExpectAck()
			call.ExpectBye()
			in.ExpectBye()
			require.Equal(t, []error{nil}, errs)
			require.Equal(t, "START STOP", b.kinds())
			require.Equal(t, dialog.Proxy, b.events()[1].By)
			empty(t, tr)
		})
	}
}
