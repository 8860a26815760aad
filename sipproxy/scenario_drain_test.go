package sipproxy_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

// shutdown drains a server and tells when it has ended.
func shutdown(s *sipproxy.Server) (ended chan time.Time) {
	ended = make(chan time.Time, 1)
	go func() {
		_ = s.Shutdown(context.Background())
		ended <- time.Now()
	}()
	return ended
}

// Graceful stop: new dialogs get 503 with Retry-After, requests in progress and in dialogs are served, and Run ends when they have.
func TestDrain(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := k.Server(t, &sipproxy.Server{Drain: time.Minute, Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(forks(k, "192.0.2.20"))})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		old := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		bob.AnswerAfter(10 * time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		start := time.Now()
		ended := shutdown(s)
		synctest.Wait()
		for _, m := range []sip.Method{sip.INVITE, sip.REGISTER} {
			res := alice.Request(t, m, "sip:bob@example.com").Expect(503)
			require.True(t, res.Has("Retry-After"))
		}
		require.EqualValues(t, 2, s.Stats().Drained)
		old.Info("text/plain", "x")
		in.Bye()
		call.Expect(200)
		call.Ack()
		require.Equal(t, 10*time.Second, (<-ended).Sub(start).Truncate(time.Second))
	})
}

// The wait is bounded: what still rings then gets a final response, its callee a CANCEL, and the handler returns.
func TestDrainIsBounded(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var cause error
		s := k.Server(t, &sipproxy.Server{Drain: 5 * time.Second, Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			res := r.Forward(ctx, at(k, r, "192.0.2.20"))
			cause = context.Cause(ctx)
			return res
		})})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		start := time.Now()
		ended := shutdown(s)
		call.Expect(503, 487)
		bob.Incoming(t).ExpectCancel()
		require.Equal(t, 5*time.Second, (<-ended).Sub(start).Truncate(time.Second))
		require.Error(t, cause)
	})
}

// A handler that waits in Block, or between two Forwards, is told by its context; one that does not listen is left behind after a while.
func TestShutdownInBlock(t *testing.T) {
	for _, listens := range []bool{true, false} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			s := k.Server(t, &sipproxy.Server{Drain: -1, Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				sipproxy.Block(ctx, func() {
					if listens {
						<-ctx.Done()
					} else {
						time.Sleep(8 * time.Second)
					}
				})
				return r.Forward(ctx, at(k, r, "192.0.2.20"))
			})})
			alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
			alice.Send(raw(k, "INVITE", "sip:bob@example.com"))
			require.Equal(t, 100, response(t, alice.Receive()).Code)
			start := time.Now()
			ended := shutdown(s)
			d := (<-ended).Sub(start)
			if listens {
				require.Zero(t, d)
				require.Contains(t, []int{487, 503}, response(t, alice.Receive()).Code)
			} else {
				require.Equal(t, 5*time.Second, d.Truncate(time.Second))
			}
			bob.NoCall(t, time.Minute)
		})
	}
}

// Busy keeps a draining server up while calls it relays media for, say, go on.
func TestDrainBusy(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		until := time.Now().Add(10 * time.Second)
		s := k.Server(t, &sipproxy.Server{Handler: forks(k, "192.0.2.20"), Busy: func() bool { return time.Now().Before(until) }})
		ended := shutdown(s)
		require.InDelta(t, 0, (<-ended).Sub(until).Seconds(), 0.5)
	})
}

// Shutdown gives up with its context, and may be called again and from many places.
func TestShutdownContext(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := k.Server(t, &sipproxy.Server{Drain: 20 * time.Second, Handler: forks(k, "192.0.2.20")})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.AnswerAfter(10 * time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		a, b := shutdown(s), shutdown(s)
		call.Expect(200)
		call.Ack()
		<-a
		<-b
		require.NoError(t, s.Shutdown(t.Context()))
		call.Bye()
	})
}

// In the middle of everything: many calls in all states, and the server goes away at once. Nothing is left over (the kit looks).
func TestShutdownInTheMiddle(t *testing.T) {
	for after := range 8 {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			k.Network.SetLink("", "", siptest.Link{Delay: 20 * time.Millisecond})
			s := k.Server(t, &sipproxy.Server{Drain: -1, Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				r.OnResponse(func(*sipproxy.Branch, *sip.Response) {
					sipproxy.Block(ctx, func() { time.Sleep(30 * time.Millisecond) })
				})
				ring, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
				defer cancel()
				res := r.Forward(ring, ats(k, r, "192.0.2.20", "192.0.2.30")...)
				if res.Is(408) {
					res = r.Forward(ctx, at(k, r, "192.0.2.40"))
				}
				return res
			})})
			alice := k.Phone("alice", "192.0.2.10")
			alice.Lenient = true
			for i, ip := range []string{"192.0.2.20", "192.0.2.30", "192.0.2.40"} {
				p := k.Phone("p"+ip, ip)
				p.Lenient = true // it may never see an ACK
				switch i {
				case 0:
					p.Ring()
				case 1:
					p.Silent()
				case 2:
					p.AnswerAfter(50 * time.Millisecond)
				}
			}
			for i := range 20 {
				alice.Send(raw(k, "INVITE", "sip:bob@example.com", "Via", "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKmid"+string(rune('a'+i))))
				k.Sleep(10 * time.Millisecond)
			}
			k.Sleep(time.Duration(after) * 25 * time.Millisecond)
			require.NoError(t, s.Shutdown(t.Context()))
		})
	}
}
