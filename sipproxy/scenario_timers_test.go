package sipproxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// §16.8: Timer C fires 181 s after the last 101-199; the CANCEL goes out first and the 408 follows its 487.
func TestTimerC(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		b.Ring()
		call.Expect(180)
		k.Sleep(170 * time.Second)
		b.Trying() // a 100 does not count
		k.Sleep(5 * time.Second)
		b.Respond(183)
		call.Expect(183)
		start := time.Now()
		call.Expect(408)
		b.ExpectCancel()
		require.InDelta(t, 181, since(start).Seconds(), 1)
	})
}

// §16.8: a 200 that crosses Timer C's CANCEL is not contradicted (REQUIREMENTS J 10).
func TestTimerCCrosses200(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		b.Ring()
		call.Expect(180)
		k.Sleep(180 * time.Second)
		link := siptest.Link{Delay: 3 * time.Second}
		k.Network.SetLink("192.0.2.20", "192.0.2.101", link)
		k.Network.SetLink("192.0.2.101", "192.0.2.20", link)
		k.Sleep(2 * time.Second)
		b.Answer()
		call.Expect(200)
		call.Ack()
		call.Nothing(time.Minute)
		call.Bye()
	})
}

// §17.1.1.2: silence is a 408 after 64*T1.
func TestTimerB(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var cause error
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			res := r.Forward(ctx, at(k, r, "192.0.2.20"))
			cause = res.Cause
			return res
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		start := time.Now()
		alice.Invite(t, "sip:bob@example.com").Expect(408)
		require.InDelta(t, 32, since(start).Seconds(), 1)
		require.Error(t, cause)
	})
}

// DESIGN section 2: Trying bounds the wait for a first response, Ring that for a final one.
func TestTryingAndRing(t *testing.T) {
	cases := []struct {
		name         string
		trying, ring time.Duration
		rings        bool
		after        time.Duration
	}{
		{"silent, Trying", 3 * time.Second, 0, false, 3 * time.Second},
		{"silent, Ring", 0, 5 * time.Second, false, 5 * time.Second},
		{"silent, both", 3 * time.Second, 5 * time.Second, false, 3 * time.Second},
		{"rings, Ring", 0, 20 * time.Second, true, 20 * time.Second},
		{"rings, both", 3 * time.Second, 20 * time.Second, true, 20 * time.Second},
		{"rings, Trying", 3 * time.Second, 0, true, 181 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					t := at(k, r, "192.0.2.20")
					t.Trying, t.Ring = c.trying, c.ring
					return r.Forward(ctx, t)
				})
				alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				bob.Silent()
				if c.rings {
					bob.Ring()
				}
				start := time.Now()
				call := alice.Invite(t, "sip:bob@example.com")
				require.Equal(t, 408, call.Final().Code)
				require.InDelta(t, c.after.Seconds(), since(start).Seconds(), 0.2)
				if c.rings {
					bob.Incoming(t).ExpectCancel()
				}
			})
		})
	}
}

// DESIGN section 2: Ring and Trying bind each branch by itself, the others go on.
func TestRingOfOneBranch(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			one := at(k, r, "192.0.2.20")
			one.Ring = 5 * time.Second
			return r.Forward(ctx, one, at(k, r, "192.0.2.30"))
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Ring()
		carol.AnswerAfter(10 * time.Second)
		call := alice.Invite(t, "sip:bob@example.com")
		require.Equal(t, 200, call.Final().Code)
		call.Ack()
		bob.Incoming(t).ExpectCancel()
		call.Bye()
	})
}

// ForwardInTurn: falling q, equal q at once; the best of all steps; Stop.
func TestForwardInTurn(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			list := ats(k, r, "192.0.2.20", "192.0.2.30", "192.0.2.40", "192.0.2.50")
			for i, q := range []float32{0.1, 1, 0.5, 0.5} {
				list[i].Q, list[i].Ring = q, 10*time.Second
			}
			if r.URI.User == "stop" {
				list[1].Stop = func(res *sip.Response) bool { return res.Code == 486 }
			}
			return r.ForwardInTurn(ctx, list...)
		})
		alice := k.Phone("alice", "192.0.2.10")
		last, first := k.Phone("last", "192.0.2.20"), k.Phone("first", "192.0.2.30")
		mid1, mid2 := k.Phone("mid1", "192.0.2.40"), k.Phone("mid2", "192.0.2.50")
		first.Refuse(486)
		mid1.Ring()
		mid2.Refuse(404)
		last.Refuse(500)
		start := time.Now()
		require.Equal(t, 486, alice.Invite(t, "sip:bob@example.com").Final().Code)
		require.Equal(t, 10*time.Second, since(start).Truncate(time.Second))
		first.Incoming(t)
		mid1.Incoming(t).ExpectCancel()
		mid2.Incoming(t)
		last.Incoming(t)

		require.Equal(t, 486, alice.Invite(t, "sip:stop@example.com").Final().Code)
		first.Incoming(t)
		mid1.NoCall(t, time.Minute)

		mid2.Refuse(603)
		require.Equal(t, 603, alice.Invite(t, "sip:bob@example.com").Final().Code)
		last.NoCall(t, time.Minute)
	})
}

// RFC 3263 §4.3, contract 1 and REQUIREMENTS J 2, 13: which addresses are tried, when, and what comes of it.
func TestAddressFailover(t *testing.T) {
	const none, ringing503 = -1, -503 // nobody listens; 100, 180 and 503
	cases := []struct {
		name        string
		one, second int
		want        int
		quick       bool
	}{
		{"refused, then answered", none, 200, 200, true},
		{"silent, then answered", 0, 200, 200, false},
		{"503, then answered", 503, 200, 200, true},
		{"busy is final", 486, 200, 486, true},
		{"500 is final", 500, 200, 500, true},
		{"both refused", none, none, 500, true},
		{"both silent", 0, 0, 408, false},
		{"silent, then refused", 0, none, 500, false},
		{"refused, then silent", none, 0, 408, false},
		{"503 twice", 503, 503, 500, true},
		{"100 and 503, then answered", ringing503, 200, 200, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				k.Network.ICMP = true
				k.Network.SetDNS(siptest.DNS{
					IP:  map[string][]string{"a.gw.example": {"192.0.2.20"}, "b.gw.example": {"192.0.2.30"}},
					SRV: map[string][]transport.SRV{"_sip._" + k.Proto.String() + ".gw.example": {{Priority: 1, Port: 5060, Target: "a.gw.example"}, {Priority: 2, Port: 5060, Target: "b.gw.example"}}},
				})
				ids := map[int]bool{}
				sends := 0
				serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					r.OnSend(func(b *sipproxy.Branch) {
						require.False(t, b.Request.Has("X-Try"), "a fresh clone each try")
						b.Request.Set("X-Try", "yes")
						ids[b.ID] = true
						require.Equal(t, sends, b.Try)
						sends++
					})
					return r.Forward(ctx, at(k, r, "gw.example"))
				})
				alice := k.Phone("alice", "192.0.2.10")
				for ip, does := range map[string]int{"192.0.2.20": c.one, "192.0.2.30": c.second} {
					if does == none {
						k.Network.Host(ip)
						continue
					}
					p := k.Phone("p"+ip, ip)
					switch does {
					case 200:
						p.Answer()
						continue
					case ringing503:
						p.OnCall(func(c *siptest.Call) {
							c.Trying()
							c.Ring()
							c.Refuse(503)
						})
						continue
					}
					behave(p, does, 0)
				}
				start := time.Now()
				call := alice.Invite(t, "sip:bob@example.com")
				require.Equal(t, c.want, call.Final().Code)
				require.Equal(t, c.quick, since(start) < time.Second, "%v", since(start))
				require.Len(t, ids, 1)
				if c.want == 200 {
					require.Equal(t, 2, sends)
					call.Ack()
					call.Bye()
				}
			})
		})
	}
}

// DESIGN section 2, Trying: a shorter Timer B, so the next address is tried when it is over.
func TestTryingGoesOnToTheNextAddress(t *testing.T) {
	for _, late := range []int{0, 180, 200} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"gw.example": {"192.0.2.20", "192.0.2.30"}}})
			serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				if r.InDialog() {
					return r.Forward(ctx)
				}
				t := at(k, r, "gw.example")
				t.URI.Port = 5060
				t.Trying = 2 * time.Second
				return r.Forward(ctx, t)
			})
			alice, one, second := k.Phone("alice", "192.0.2.10"), k.Phone("one", "192.0.2.20"), k.Phone("second", "192.0.2.30")
			one.Silent()
			second.AnswerAfter(10 * time.Second)
			start := time.Now()
			call := alice.Invite(t, "sip:bob@example.com")
			call.Expect(180)
			require.Equal(t, 2*time.Second, since(start).Truncate(time.Second))
			in := one.Incoming(t)
			switch late {
			case 180:
				in.Ring()
				in.ExpectCancel() // its time is over
			case 200:
				in.Answer() // wins all the same
			}
			call.Final()
			call.Ack()
			if late == 200 {
				second.Incoming(t).ExpectCancel()
				in.ExpectAck()
			} else {
				second.Incoming(t).ExpectAck()
			}
			call.Bye()
		})
	}
}

// No address: 503 for the handler, 500 upstream.
func TestNoAddress(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var res *sip.Response
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			res = r.Forward(ctx, at(k, r, "nowhere.example"))
			return res
		})
		alice := k.Phone("alice", "192.0.2.10")
		alice.Invite(t, "sip:bob@example.com").Expect(500)
		require.Equal(t, 503, res.Code)
		require.Error(t, res.Cause)
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(500)
	})
}

// Target.Else: alternatives inside the fork on 430, 503, transport error or silence, while the others ring.
func TestElse(t *testing.T) {
	for code, used := range map[int]bool{430: true, 503: true, 0: true, -1: true, 486: false, 404: false, 603: false} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			k.Network.ICMP = true
			serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				one := at(k, r, "192.0.2.20")
				one.Trying = 3 * time.Second
				one.Else = ats(k, r, "192.0.2.30", "192.0.2.40")
				return r.Forward(ctx, one)
			})
			alice, second, third := k.Phone("alice", "192.0.2.10"), k.Phone("second", "192.0.2.30"), k.Phone("third", "192.0.2.40")
			if code >= 0 {
				behave(k.Phone("one", "192.0.2.20"), code, 0)
			} else {
				k.Network.Host("192.0.2.20")
			}
			second.Refuse(503)
			call := alice.Invite(t, "sip:bob@example.com")
			if !used {
				call.Expect(code)
				second.NoCall(t, time.Minute)
				return
			}
			call.Expect(180)
			call.Expect(200)
			call.Ack()
			third.Incoming(t).ExpectAck()
			call.Bye()
		})
	}
}

// §16.9: a connection that breaks before any response fails the branch at once.
func TestConnectionReset(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.TCP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			res := r.Forward(ctx, at(k, r, "192.0.2.20"))
			if res.Is(503) && res.Cause != nil {
				return r.Forward(ctx, at(k, r, "192.0.2.30"))
			}
			return res
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		bob.Incoming(t)
		start := time.Now()
		bob.Hangup()
		call.Final()
		require.Less(t, since(start), time.Second)
		call.Ack()
		carol.Incoming(t).ExpectAck()
		call.Bye()
	})
}
