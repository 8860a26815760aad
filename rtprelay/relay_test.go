package rtprelay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/stretchr/testify/require"
)

const (
	aliceIP = "192.0.2.10"
	bobIP   = "192.0.2.20"
	carolIP = "192.0.2.30"
)

func audio(ip string, port int, more string) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 8\r\na=odd: line\r\n%s", ip, ip, port, more)
}

// A stage is a proxy with a Relay on a fake engine, and two phones.
type stage struct {
	t          *testing.T
	k          *siptest.Kit
	e          *ledgerEngine
	rl         *rtprelay.Relay
	alice, bob *siptest.Phone
}

func newStage(t *testing.T, k *siptest.Kit, edit func(*rtprelay.Relay), hosts ...string) *stage {
	s := &stage{t: t, k: k, e: &ledgerEngine{}}
	s.rl = &rtprelay.Relay{Engine: s.e}
	if edit != nil {
		edit(s.rl)
	}
	if hosts == nil {
		hosts = []string{bobIP}
	}
	s.serve(s.rl, hosts...)
	s.alice, s.bob = k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
	s.alice.SDP, s.bob.SDP = audio("10.0.0.1", 10000, ""), audio("10.0.0.2", 20000, "")
	return s
}

func (s *stage) serve(rl *rtprelay.Relay, hosts ...string) {
	s.k.Server(s.t, &sipproxy.Server{
		Keys: [][]byte{[]byte("sixteen bytes or more")},
		Handler: sipproxy.Chain{rl.Middleware, recordroute.Router{Params: rl.Params}.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				var list []sipproxy.Target
				for _, h := range hosts {
					list = append(list, sipproxy.Target{URI: r.URI.WithHostPort(h)})
				}
				return r.Forward(ctx, list...)
			}),
	})
}

// over checks that nothing is left, at the engine and in the Relay.
func (s *stage) over() {
	s.t.Helper()
	settle()
	require.Zero(s.t, s.e.sessions(), "sessions left at the engine")
	require.Zero(s.t, s.rl.Stats().Legs, "legs left")
}

// settle lets handlers return after their answers have gone out.
func settle() { time.Sleep(time.Millisecond) }

// relays checks that a body names the relay and only it, and that the odd line is there.
func relays(t *testing.T, h *sip.Header, ports ...uint16) {
	t.Helper()
	_, text, _, ok := rtprelay.SplitBody(h.ContentType(), h.Body())
	require.True(t, ok, "%s", h.Body())
	d, err := rtprelay.ParseSDP(text)
	require.NoError(t, err)
	require.Len(t, d.Media, len(ports))
	for i, p := range ports {
		require.Equal(t, p, d.Media[i].Port)
		if p != 0 {
			require.Equal(t, relayAddr, d.Media[i].Addr)
		}
	}
	require.True(t, d.Marked)
	require.NotContains(t, text, "10.0.0.")
	require.Contains(t, text, "a=odd: line\r\n")
	n, err := h.ContentLength()
	require.NoError(t, err)
	require.Equal(t, len(h.Body()), n)
}

func TestRelayCall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil)
		s.bob.OnCall(func(c *siptest.Call) {
			c.Respond(183, func(r *sip.Response) { r.SetBody("application/sdp", s.bob.SDP) })
			if c.Pause(time.Second) {
				c.Answer()
			}
		})
		call := s.alice.Invite(t, "sip:bob@example.com")
		relays(t, &call.Expect(183).Header, 50000)
		ok200 := call.Expect(200)
		relays(t, &ok200.Header, 50000)
		call.Ack()
		in := s.bob.Incoming(t)
		relays(t, &in.Invitation().Header, 40000)
		in.ExpectAck()
		require.Equal(t, "offer 0 alice> 192.0.2.10\nanswer 0 alice>bob 192.0.2.20 at fra/1 é\nanswer 0 alice>bob 192.0.2.20 at fra/1 é", s.e.take(false))
		tags := [2]string{ok200.FromTag(), ok200.ToTag()}
		packets, _, _, _, ok := s.rl.Media(t.Context(), call.ID(), tags[0], tags[1])
		require.True(t, ok)
		require.Equal(t, [2]uint64{7, 8}, packets)

		call.Reinvite()
		relays(t, &in.ExpectRequest(sip.INVITE).Header, 40000)
		in.ExpectAck()
		require.Equal(t, "offer 0 alice>bob 192.0.2.10 at fra/1 é\nanswer 0 alice>bob 192.0.2.20 at fra/1 é", s.e.take(false))
		in.Reinvite()
		relays(t, &call.ExpectRequest(sip.INVITE).Header, 50000)
		call.ExpectAck()
		require.Equal(t, "offer 0 alice>bob 192.0.2.20 swap at fra/1 é\nanswer 0 alice>bob 192.0.2.10 swap at fra/1 é", s.e.take(false))
		call.Info("text/plain", "v=0\r\nno description")
		in.ExpectRequest(sip.INFO)
		in.Bye()
		call.ExpectBye()
		settle()
		require.Equal(t, "delete 0 alice>bob", s.e.take(false))
		_, _, _, _, ok = s.rl.Media(t.Context(), call.ID(), tags[0], tags[1])
		require.False(t, ok)
		s.over()
	})
}

// TestRelayLateOffer: the 200 brings the offer, the ACK the answer (RFC 3261 §13.2.1); from either side.
func TestRelayLateOffer(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil)
		empty := func(r *sip.Request) { r.SetBody("", "") }
		ack := func(p *siptest.Phone) func(*sip.Request) {
			return func(r *sip.Request) { r.SetBody("application/sdp", p.SDP) }
		}
		call := s.alice.Invite(t, "sip:bob@example.com", empty)
		call.Expect(180)
		relays(t, &call.Expect(200).Header, 50000)
		call.Ack(ack(s.alice))
		in := s.bob.Incoming(t)
		require.Empty(t, in.Invitation().Body())
		relays(t, &in.ExpectAck().Header, 40000)
		require.Equal(t, "offer 0 alice>bob 192.0.2.20 swap\nanswer 0 alice>bob 192.0.2.10 swap at fra/1 é", s.e.take(false))

		tx := in.Start(sip.INVITE, empty)
		relays(t, &tx.Expect(200).Header, 40000)
		tx.Ack(ack(s.bob))
		call.ExpectRequest(sip.INVITE)
		relays(t, &call.ExpectAck().Header, 50000)
		require.Equal(t, "offer 0 alice>bob 192.0.2.10 at fra/1 é\nanswer 0 alice>bob 192.0.2.20 at fra/1 é", s.e.take(false))
		call.Bye()
		in.ExpectBye()
		s.over()
	})
}

// TestRelayReliable: a reliable provisional response with an offer is answered in PRACK; one with the answer lets PRACK make a new offer, and so does UPDATE
// (RFC 3262 §5, RFC 3311).
func TestRelayReliable(t *testing.T) {
	const (
		byCaller = "offer 0 alice>bob 192.0.2.10 at fra/1 é\nanswer 0 alice>bob 192.0.2.20 at fra/1 é"
		late     = "offer 0 alice>bob 192.0.2.20 swap\nanswer 0 alice>bob 192.0.2.10 swap at fra/1 é"
		first    = "offer 0 alice> 192.0.2.10\nanswer 0 alice>bob 192.0.2.20 at fra/1 é\n"
	)
	for _, isLate := range []bool{true, false} {
		t.Run(fmt.Sprintf("late=%v", isLate), func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				s := newStage(t, k, nil)
				ring := make(chan struct{})
				s.bob.Serve = func(_ *siptest.Call, r *sip.Request) *sip.Response {
					if r.Method != sip.PRACK && r.Method != sip.UPDATE {
						return nil
					}
					res := sip.NewResponse(r, 200, "", "")
					res.Add("Contact", "<"+s.bob.Contact()+">")
					if r.Method == sip.UPDATE || !isLate {
						res.SetBody("application/sdp", s.bob.SDP)
					}
					return res
				}
				s.bob.OnCall(func(c *siptest.Call) {
					c.Respond(183, func(r *sip.Response) {
						r.Add("Require", "100rel")
						r.Add("RSeq", "1")
						r.SetBody("application/sdp", s.bob.SDP)
					})
					<-ring
					c.Respond(200, func(r *sip.Response) { r.SetBody("", "") })
				})
				call := s.alice.Invite(t, "sip:bob@example.com", func(r *sip.Request) {
					if isLate {
						r.SetBody("", "")
					}
				})
				relays(t, &call.Expect(183).Header, 50000)
				withSDP := func(r *sip.Request) { r.SetBody("application/sdp", s.alice.SDP) }
				in := s.bob.Incoming(t)
				prack := call.Start(sip.PRACK, withSDP, func(r *sip.Request) { r.Add("RAck", "1 1 INVITE") }).Expect(200)
				relays(t, &in.ExpectRequest(sip.PRACK).Header, 40000)
				if isLate {
					require.Equal(t, late, s.e.take(false))
				} else {
					relays(t, &prack.Header, 50000)
					require.Equal(t, first+byCaller, s.e.take(false))
				}
				tx := call.Start(sip.UPDATE, withSDP)
				relays(t, &tx.Expect(200).Header, 50000)
				relays(t, &in.ExpectRequest(sip.UPDATE).Header, 40000)
				require.Equal(t, byCaller, s.e.take(false))
				close(ring)
				require.Empty(t, call.Expect(200).Body())
				call.Ack()
				in.ExpectAck()
				in.Bye()
				call.ExpectBye()
				s.over()
			})
		})
	}
}

// TestRelayFork: every branch has its own leg; those that lose are deleted, the winner lives.
func TestRelayFork(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil, bobIP, carolIP)
		carol := k.Phone("carol", carolIP)
		carol.SDP = audio("10.0.0.3", 30000, "")
		s.bob.OnCall(func(c *siptest.Call) {
			c.Respond(183, func(r *sip.Response) { r.SetBody("application/sdp", s.bob.SDP) })
		})
		carol.AnswerAfter(2 * time.Second)
		call := s.alice.Invite(t, "sip:bob@example.com")
		require.Contains(t, call.Expect(180, 183, 200).Reason+call.Expect(183, 180).Reason, "Ringing")
		relays(t, &call.Expect(200).Header, 50100)
		call.Ack()
		bobs, carols := s.bob.Incoming(t), carol.Incoming(t)
		relays(t, &bobs.Invitation().Header, 40000)
		relays(t, &carols.Invitation().Header, 40100)
		bobs.ExpectCancel()
		carols.ExpectAck()
		settle()
		require.Equal(t, 1, s.e.sessions())
		require.Contains(t, s.e.take(false), "delete 0 alice>bob")
		carols.Bye()
		call.ExpectBye()
		settle()
		require.Equal(t, "delete 1 alice>carol", s.e.take(false))
		s.over()
	})
}

func TestRelayFailureAndCancel(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil, bobIP, carolIP)
		carol := k.Phone("carol", carolIP)
		s.bob.Refuse(486)
		carol.OnCall(func(c *siptest.Call) {
			c.Ring()
			if c.Pause(5 * time.Second) {
				c.Refuse(480)
			}
		})
		call := s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		require.Equal(t, 2, s.e.sessions(), "the branches still share one transaction")
		call.Expect(480, 486)
		s.over()
		call = s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		call.Expect(486, 487)
		s.over()
		require.Equal(t, 4, strings.Count(s.e.take(false), "delete"))
	})
}

// TestRelayShapes: hold, refused streams, several streams, multipart bodies.
func TestRelayShapes(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, func(rl *rtprelay.Relay) {
			rl.MusicOnHold = "/music/hold"
			rl.Record = func(*sipproxy.Request) bool { return true }
		})
		s.alice.SDP = audio("10.0.0.1", 10000, "m=video 0 RTP/AVP 31\r\nm=audio 10004 RTP/AVP 0\r\na=label:2\r\n")
		s.bob.SDP = audio("10.0.0.2", 20000, "m=video 0 RTP/AVP 31\r\nm=audio 20004 RTP/AVP 0\r\n")
		multi := "--b\r\nContent-Type: text/plain\r\n\r\nhello 10.0.9.9\r\n--b\r\nContent-Type: application/sdp\r\n\r\n" + s.alice.SDP + "\r\n--b--\r\n"
		call := s.alice.Call(t, "sip:bob@example.com", func(r *sip.Request) { r.SetBody(`multipart/mixed;boundary="b"`, multi) })
		in := s.bob.Incoming(t)
		in.ExpectAck()
		inv := in.Invitation()
		relays(t, &inv.Header, 40000, 0, 40004)
		require.Equal(t, `multipart/mixed;boundary="b"`, inv.ContentType())
		require.Contains(t, inv.Body(), "hello 10.0.9.9")
		require.True(t, strings.HasSuffix(inv.Body(), "\r\n--b--\r\n"))
		require.Contains(t, s.e.take(false), "record 0 alice>bob")

		hold := func(dir string) func(*sip.Request) {
			return func(r *sip.Request) { r.SetBody("application/sdp", audio("10.0.0.1", 10000, dir)) }
		}
		for range 2 { // once is enough
			call.Reinvite(hold("a=sendonly\r\n"))
			in.ExpectRequest(sip.INVITE)
			in.ExpectAck()
		}
		log := s.e.take(false)
		require.Equal(t, 1, strings.Count(log, "play 0 alice>bob true /music/hold -1"), "%s", log)
		require.NotContains(t, log, "stop")
		call.Reinvite(hold("a=sendrecv\r\n"))
		in.ExpectRequest(sip.INVITE)
		in.ExpectAck()
		require.Contains(t, s.e.take(false), "stop 0 alice>bob true")
		in.Reinvite(func(r *sip.Request) {
			r.SetBody("application/sdp", strings.Replace(audio("10.0.0.2", 20000, ""), "c=IN IP4 10.0.0.2", "c=IN IP4 0.0.0.0", 1))
		})
		old := call.ExpectRequest(sip.INVITE)
		require.Contains(t, old.Body(), "c=IN IP4 0.0.0.0", "the old hold stays hold")
		call.ExpectAck()
		require.Contains(t, s.e.take(false), "play 0 alice>bob false /music/hold -1")
		call.Bye()
		in.ExpectBye()
		s.over()
	})
}

// TestRelayUntouched: what is not to be relayed, or not understood, passes byte for byte.
func TestRelayUntouched(t *testing.T) {
	for _, x := range []struct {
		name, body, ctype string
		count             func(rtprelay.RelayStats) uint64
	}{
		{"marked", audio("10.0.0.1", 10000, "a=nortpproxy:yes\r\n"), "application/sdp", func(s rtprelay.RelayStats) uint64 { return s.Marked }},
		{"broken", "v=0\r\nm=audio ten RTP/AVP 0\r\n", "application/sdp", func(s rtprelay.RelayStats) uint64 { return s.Bad }},
		{"nothing on", audio("10.0.0.1", 0, ""), "application/sdp", func(s rtprelay.RelayStats) uint64 { return s.Nothing }},
		{"no SDP", "hello", "text/plain", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				s := newStage(t, k, func(rl *rtprelay.Relay) {
					if x.count == nil {
						rl.When = func(*sipproxy.Request) bool { return false }
					}
				})
				call := s.alice.Invite(t, "sip:bob@example.com", func(r *sip.Request) { r.SetBody(x.ctype, x.body) })
				call.Expect(180)
				require.Equal(t, s.bob.SDP, call.Expect(200).Body())
				call.Ack()
				in := s.bob.Incoming(t)
				in.ExpectAck()
				require.Equal(t, x.body, in.Invitation().Body())
				if x.count != nil {
					require.EqualValues(t, 1, x.count(s.rl.Stats()))
				}
				call.Reinvite()
				require.Equal(t, s.alice.SDP, in.ExpectRequest(sip.INVITE).Body())
				in.ExpectAck()
				in.Bye()
				call.ExpectBye()
				require.NotContains(t, s.e.take(false), "answer")
				s.over()
			})
		})
	}
}

// TestRelayEngineFails: an engine that refuses, is away, hangs or answers nonsense gives 503, or lets the call pass unchanged, by policy. No
// body is ever half rewritten.
func TestRelayEngineFails(t *testing.T) {
	bad := map[string]func(string, rtprelay.Params) (rtprelay.Result, error, bool){
		"away": func(string, rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{}, rtprelay.ErrUnavailable, true
		},
		"refuses": func(string, rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{}, &rtprelay.RefusedError{Code: "E35"}, true
		},
		"half": func(_ string, p rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{SDP: p.SDP[:40], Streams: 1}, nil, true
		},
		"nothing": func(string, rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{Streams: 1}, nil, true
		},
		"hangs": nil,
	}
	for what, f := range bad {
		for _, pass := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s pass=%v", what, pass), func(t *testing.T) {
				siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
					var failures []error
					s := newStage(t, k, func(rl *rtprelay.Relay) {
						rl.Pass = pass
						rl.OnFailure = func(r rtprelay.Ref, err error) { failures = append(failures, err) }
					})
					s.e.interfere = f
					if f == nil {
						s.e.delay = time.Hour
					}
					start := time.Now()
					call := s.alice.Invite(t, "sip:bob@example.com")
					if !pass {
						call.Expect(503)
						s.bob.NoCall(t, 0)
					} else {
						call.Expect(180)
						require.Equal(t, s.bob.SDP, call.Expect(200).Body())
						call.Ack()
						in := s.bob.Incoming(t)
						in.ExpectAck()
						require.Equal(t, s.alice.SDP, in.Invitation().Body())
						in.Bye()
						call.ExpectBye()
					}
					if f == nil {
						require.Equal(t, 5*time.Second, time.Since(start).Round(time.Second))
					}
					require.Len(t, failures, 1)
					s.over()
				})
			})
		}
	}
}

// TestRelayAnswerFails: the callee has answered, so its description goes up as it is, and OnFailure is told with both tags.
func TestRelayAnswerFails(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var told []rtprelay.Ref
		s := newStage(t, k, func(rl *rtprelay.Relay) {
			rl.OnFailure = func(r rtprelay.Ref, err error) { told = append(told, r) }
		})
		s.e.interfere = func(verb string, p rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{}, rtprelay.ErrUnavailable, verb == "answer"
		}
		call := s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		res := call.Expect(200)
		require.Equal(t, s.bob.SDP, res.Body())
		require.Len(t, told, 1)
		require.Equal(t, res.ToTag(), told[0].ToTag)
		call.Ack()
		in := s.bob.Incoming(t)
		in.ExpectAck()
		in.Bye()
		call.ExpectBye()
		s.over()
	})
}

// TestRelayReofferFails: a re-INVITE that cannot be relayed is refused; the call goes on as it was.
func TestRelayReofferFails(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil)
		call := s.alice.Call(t, "sip:bob@example.com")
		in := s.bob.Incoming(t)
		in.ExpectAck()
		s.e.interfere = func(string, rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{}, rtprelay.ErrUnavailable, true
		}
		call.Start(sip.INVITE).Expect(503)
		s.e.interfere = nil
		require.Equal(t, 1, s.e.sessions())
		call.Reinvite()
		in.ExpectRequest(sip.INVITE)
		in.ExpectAck()
		call.Bye()
		in.ExpectBye()
		s.over()
	})
}

// TestRelayRefusedOffer: an offer that the other party refuses, or that is given up, is taken back at the engine before its sender hears of it; the next one is a new one.
func TestRelayRefusedOffer(t *testing.T) {
	const (
		byAlice = "offer 0 alice>bob 192.0.2.10 at fra/1 é"
		byBob   = "offer 0 alice>bob 192.0.2.20 swap at fra/1 é"
		backA   = byAlice + "\nanswer 0 alice>bob 192.0.2.20 at fra/1 é"
		backB   = byBob + "\nanswer 0 alice>bob 192.0.2.10 swap at fra/1 é"
	)
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil)
		var asked []string // descriptions that the engine saw
		s.e.interfere = func(_ string, p rtprelay.Params) (rtprelay.Result, error, bool) {
			asked = append(asked, p.SDP)
			return rtprelay.Result{}, nil, false
		}
		call := s.alice.Call(t, "sip:bob@example.com")
		in := s.bob.Incoming(t)
		in.ExpectAck()
		require.Len(t, asked, 2)
		agreed := map[string]string{"alice": asked[0], "bob": asked[1]}
		s.e.take(false)

		code := 488
		refuse := func(_ *siptest.Call, r *sip.Request) *sip.Response {
			if r.Method == sip.INVITE || r.Method == sip.UPDATE {
				return sip.NewResponse(r, code, "", "")
			}
			return nil
		}
		s.alice.Serve, s.bob.Serve = refuse, refuse
		moved := func(r *sip.Request) {
			r.SetBody("application/sdp", audio("10.0.0.9", 9000, "m=video 9002 RTP/AVP 31\r\n"))
		}
		for _, method := range []sip.Method{sip.INVITE, sip.UPDATE} {
			for _, code = range []int{488, 491, 401} {
				asked = nil
				call.Start(method, moved).Expect(code)
				turnedDown(in, method)
				require.Equal(t, byAlice+"\n"+backA, s.e.take(false))
				require.Equal(t, []string{agreed["alice"], agreed["bob"]}, asked[1:])
				asked = nil
				in.Start(method, moved).Expect(code)
				turnedDown(call, method)
				require.Equal(t, byBob+"\n"+backB, s.e.take(false))
				require.Equal(t, []string{agreed["bob"], agreed["alice"]}, asked[1:])
			}
		}
		require.EqualValues(t, 12, s.rl.Stats().Rolled)

		call.Start(sip.INVITE, func(r *sip.Request) { r.SetBody("", "") }).Expect(code)
		turnedDown(in, sip.INVITE)
		require.Empty(t, s.e.take(false), "no offer, nothing to take back")

		s.alice.Serve, s.bob.Serve = nil, nil
		call.Reinvite(moved) // what is agreed on now is what the next refusal goes back to
		in.ExpectRequest(sip.INVITE)
		in.ExpectAck()
		s.e.take(false)
		s.bob.Serve = refuse
		asked = nil
		call.Start(sip.INVITE).Expect(code)
		turnedDown(in, sip.INVITE)
		require.Contains(t, asked[1], "m=audio 9000")
		s.e.take(false)

		s.e.interfere = func(verb string, p rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{}, &rtprelay.BusyError{Code: "E71"}, verb == "offer" && strings.Contains(p.SDP, "10.0.0.7")
		}
		call.Start(sip.INVITE, func(r *sip.Request) { r.SetBody("application/sdp", audio("10.0.0.7", 9000, "")) }).Expect(503)
		require.Equal(t, byAlice+"\n"+backA, s.e.take(false), "the engine may have done half of it")
		s.e.interfere = func(string, rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{}, rtprelay.ErrUnavailable, true
		}
		call.Start(sip.INVITE).Expect(503)
		require.Equal(t, byAlice, s.e.take(false), "one that is silent is not asked again")
		s.e.interfere = nil
		call.Bye()
		in.ExpectBye()
		s.over()
	})
}

// turnedDown is what the other party gets of a request that it refuses.
func turnedDown(c *siptest.Call, m sip.Method) {
	c.ExpectRequest(m)
	if m == sip.INVITE {
		c.ExpectAck()
	}
}

// TestRelaySlow: while the engine takes its time for one call, others are served.
func TestRelaySlow(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil)
		first := true
		s.e.interfere = func(string, rtprelay.Params) (rtprelay.Result, error, bool) {
			s.e.mu.Lock()
			mine := first
			first = false
			s.e.mu.Unlock()
			if mine {
				time.Sleep(3 * time.Second)
			}
			return rtprelay.Result{}, nil, false
		}
		start := time.Now()
		slow := s.alice.Invite(t, "sip:bob@example.com")
		settle()
		quick := s.alice.Invite(t, "sip:bob@example.com")
		quick.Expect(180)
		quick.Expect(200)
		require.Less(t, time.Since(start), time.Second)
		quick.Ack()
		slow.Expect(180)
		slow.Expect(200)
		slow.Ack()
		for range 2 {
			in := s.bob.Incoming(t)
			in.ExpectAck()
			in.Bye()
		}
		quick.ExpectBye()
		slow.ExpectBye()
		s.over()
	})
}

// TestRelayRestart: a proxy that knows nothing of the call finds leg, parties and node in its Record-Route.
func TestRelayRestart(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		e := &ledgerEngine{}
		var rl *rtprelay.Relay
		current := func(next sipproxy.Handler) sipproxy.Handler {
			return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return rl.Middleware(next).ServeSIP(ctx, r)
			})
		}
		rl = &rtprelay.Relay{Engine: e}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{current, recordroute.Router{
			Params: func(b *sipproxy.Branch) sip.Params { return rl.Params(b) }}.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bobIP)})
			})})
		s := &stage{t: t, k: k, e: e, alice: k.Phone("alice", aliceIP), bob: k.Phone("bob", bobIP)}
		s.alice.SDP, s.bob.SDP = audio("10.0.0.1", 10000, ""), audio("10.0.0.2", 20000, "")
		call := s.alice.Call(t, "sip:bob@example.com")
		in := s.bob.Incoming(t)
		in.ExpectAck()
		settle()
		e.take(false)

		rl = &rtprelay.Relay{Engine: e}
		s.rl = rl
		in.Reinvite()
		relays(t, &call.ExpectRequest(sip.INVITE).Header, 50000)
		call.ExpectAck()
		require.Equal(t, "offer 0 alice>bob 192.0.2.20 swap at fra/1 é\nanswer 0 alice>bob 192.0.2.10 swap at fra/1 é", e.take(false))
		require.EqualValues(t, 1, rl.Stats().Adopted)

		rl = &rtprelay.Relay{Engine: e}
		s.rl = rl
		call.Bye()
		in.ExpectBye()
		settle()
		require.Equal(t, "delete 0 alice>bob", e.take(false))
		s.over()
	})
}

// TestRelayTimeout: the engine says that the media have stopped; the leg goes, and the user hears both tags.
func TestRelayTimeout(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var told []rtprelay.Ref
		s := newStage(t, k, func(rl *rtprelay.Relay) {
			rl.OnTimeout = func(r rtprelay.Ref) { told = append(told, r) }
		})
		call := s.alice.Call(t, "sip:bob@example.com")
		in := s.bob.Incoming(t)
		in.ExpectAck()
		r := rtprelay.Ref{CallID: call.ID(), FromTag: in.Invitation().FromTag()}
		require.NoError(t, s.e.Delete(t.Context(), r))
		s.rl.TimedOut(r)
		require.Len(t, told, 1)
		require.Equal(t, "bob", name(told[0].ToTag))
		in.Bye()
		call.ExpectBye()
		s.over()
	})
}

// TestRelayByeCrossesOffer: the call is over while the engine works on an offer, or takes one back; what it made afterwards is deleted.
func TestRelayByeCrossesOffer(t *testing.T) {
	for _, refused := range []bool{false, true} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			s := newStage(t, k, nil)
			call := s.alice.Call(t, "sip:bob@example.com")
			in := s.bob.Incoming(t)
			in.ExpectAck()
			n, slow, code := 0, 1, 481
			if refused {
				slow, code = 2, 488 // the offer that takes back is slow
			}
			s.bob.Serve = func(_ *siptest.Call, r *sip.Request) *sip.Response {
				if r.Method == sip.INVITE {
					return sip.NewResponse(r, code, "", "")
				}
				return nil
			}
			s.e.interfere = func(verb string, _ rtprelay.Params) (rtprelay.Result, error, bool) {
				if verb == "offer" {
					if n++; n == slow {
						time.Sleep(time.Second)
					}
				}
				return rtprelay.Result{}, nil, false
			}
			call.Start(sip.INVITE)
			settle()
			if refused {
				in.ExpectRequest(sip.INVITE)
				in.ExpectAck()
			}
			in.Bye()
			call.ExpectBye()
			time.Sleep(10 * time.Second)
			s.over()
		})
	}
}

// TestRelayTimeoutWhileRinging: an engine that gives up before the callee answers ends no call; the answer has no session then, which is told.
func TestRelayTimeoutWhileRinging(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var failed []error
		s := newStage(t, k, func(rl *rtprelay.Relay) {
			rl.OnTimeout = func(rtprelay.Ref) { require.Fail(t, "nothing to end") }
			rl.OnFailure = func(_ rtprelay.Ref, err error) { failed = append(failed, err) }
		})
		s.bob.AnswerAfter(2 * time.Minute)
		call := s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		r := rtprelay.Ref{CallID: call.ID(), FromTag: s.bob.Incoming(t).Invitation().FromTag()}
		require.NoError(t, s.e.Delete(t.Context(), r))
		s.rl.TimedOut(r)
		require.EqualValues(t, 1, s.rl.Stats().RingOut)
		require.Zero(t, s.rl.Stats().TimedOut)
		call.Expect(200)
		call.Ack()
		require.Len(t, failed, 1)
		require.ErrorIs(t, failed[0], rtprelay.ErrNoSession)
		call.Bye()
		s.over()
	})
}

// TestRelayStreamTimeout: an engine that follows streams tells of one while another lives, and of calls on hold; neither ends the call.
func TestRelayStreamTimeout(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		told := make(chan rtprelay.Ref, 10)
		s := newStage(t, k, func(rl *rtprelay.Relay) { rl.OnTimeout = func(r rtprelay.Ref) { told <- r } })
		call := s.alice.Call(t, "sip:bob@example.com")
		in := s.bob.Incoming(t)
		in.ExpectAck()
		r := rtprelay.Ref{CallID: call.ID(), FromTag: in.Invitation().FromTag()}
		s.rl.StreamTimedOut(r)
		settle()
		require.Empty(t, told, "the engine has a session still")
		require.EqualValues(t, 1, s.rl.Stats().StreamOut)

		direction := func(d string) func(*sip.Request) {
			return func(r *sip.Request) { r.SetBody("application/sdp", audio("10.0.0.1", 10000, "a="+d+"\r\n")) }
		}
		call.Reinvite(direction("inactive"))
		in.ExpectRequest(sip.INVITE)
		in.ExpectAck()
		require.NoError(t, s.e.Delete(t.Context(), r))
		s.rl.StreamTimedOut(r)
		settle()
		require.Empty(t, told, "on hold")
		require.EqualValues(t, 1, s.rl.Stats().HeldOut)
		call.Reinvite(direction("sendrecv"))
		in.ExpectRequest(sip.INVITE)
		in.ExpectAck()
		require.Equal(t, 1, s.e.sessions(), "a new session")

		require.NoError(t, s.e.Delete(t.Context(), r))
		s.rl.StreamTimedOut(rtprelay.Ref{CallID: r.CallID, FromTag: "x", ToTag: r.FromTag}) // tags in the other order
		require.Equal(t, "bob", name((<-told).ToTag))
		s.rl.StreamTimedOut(r) // of the second stream
		settle()
		require.Equal(t, r, <-told)
		in.Bye()
		call.ExpectBye()
		s.over()
	})
}

// TestRelayBounds: beyond Max calls are refused; what nobody mentions for MaxAge goes.
func TestRelayBounds(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, func(rl *rtprelay.Relay) { rl.Max, rl.MaxAge = 1, time.Hour })
		call := s.alice.Call(t, "sip:bob@example.com")
		s.bob.Incoming(t).ExpectAck()
		s.alice.Invite(t, "sip:bob@example.com").Expect(503)
		settle()
		require.Equal(t, 1, s.e.sessions())
		require.EqualValues(t, 1, s.rl.Stats().Limited)
		time.Sleep(2 * time.Hour)
		next := s.alice.Call(t, "sip:bob@example.com")
		in := s.bob.Incoming(t)
		in.ExpectAck()
		settle()
		require.EqualValues(t, 1, s.rl.Stats().Expired)
		require.Equal(t, 1, s.e.sessions())
		in.Bye()
		next.ExpectBye()
		call.Bye()
		s.over()
	})
}

// TestRelayStateless: without state nothing is touched.
func TestRelayStateless(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		e := &ledgerEngine{interfere: func(string, rtprelay.Params) (rtprelay.Result, error, bool) {
			return rtprelay.Result{}, errors.New("asked"), true
		}}
		rl := &rtprelay.Relay{Engine: e}
		k.Server(t, &sipproxy.Server{
			Accept: func(*sipproxy.Request) sipproxy.Mode { return sipproxy.Stateless },
			Handler: sipproxy.Chain{rl.Middleware}.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bobIP)})
			}),
		})
		alice, bob := k.Phone("alice", aliceIP), k.Phone("bob", bobIP)
		call := alice.Call(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.ExpectAck()
		call.Bye()
		in.ExpectBye()
		require.Empty(t, e.take(false))
	})
}

// TestRelayEarlyBye: a BYE in an early dialog leaves the session to the INVITE, which goes on.
func TestRelayEarlyBye(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil)
		end := make(chan bool)
		s.bob.OnCall(func(c *siptest.Call) {
			c.Ring()
			<-end
			c.Refuse(487)
		})
		call := s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Start(sip.BYE).Expect(200)
		settle()
		require.Equal(t, 1, s.e.sessions())
		close(end)
		call.Expect(487)
		s.over()
	})
}

// TestRelayForkBehind: a proxy behind forks one branch of ours, and both callees answer. The first has the session; the second cannot take it away.
func TestRelayForkBehind(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil, "192.0.2.102")
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(bobIP)}, sipproxy.Target{URI: r.URI.WithHostPort(carolIP)})
			})})
		carol := k.Phone("carol", carolIP)
		carol.SDP = audio("10.0.0.3", 30000, "")
		answer := func(after time.Duration) func(*siptest.Call) {
			return func(c *siptest.Call) {
				c.Respond(183, func(r *sip.Response) { r.SetBody("application/sdp", "") })
				time.Sleep(after)
				c.Answer()
			}
		}
		s.bob.OnCall(answer(time.Second))
		carol.OnCall(answer(time.Second + 10*time.Millisecond))
		k.Network.SetLink(bobIP, "", siptest.Link{Delay: 100 * time.Millisecond})
		k.Network.SetLink(carolIP, "", siptest.Link{Delay: 100 * time.Millisecond})
		call := s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(183)
		call.Expect(183)
		first := call.Expect(200)
		relays(t, &first.Header, 50000)
		call.Ack()
		second := call.Fork()
		second.Ack()
		settle()
		second.Bye()
		settle()
		require.Equal(t, 1, s.e.sessions(), "the second's BYE is not the first's")
		require.NotContains(t, s.e.take(false), "carol")
		call.Bye()
		s.over()
	})
}

// TestRelayCancelledOffer: the caller gives up while the engine is asked. Nothing goes to the callee, and it is no failure of the engine.
func TestRelayCancelledOffer(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, func(rl *rtprelay.Relay) {
			rl.OnFailure = func(rtprelay.Ref, error) { t.Error("told of a failure") }
		})
		s.e.delay = 4 * time.Second
		start := time.Now()
		call := s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(100)
		time.Sleep(time.Second)
		call.Cancel()
		call.Expect(487)
		require.Less(t, time.Since(start), 2*time.Second)
		s.bob.NoCall(t, 10*time.Second)
		s.over()
	})
}

// TestRelayForkBefore: a proxy before us forks, and two INVITEs of one call come here. Each has its own session.
func TestRelayForkBefore(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.102")},
					sipproxy.Target{URI: r.URI.WithUser("carol").WithHostPort("192.0.2.102")})
			})})
		e := &ledgerEngine{}
		rl := &rtprelay.Relay{Engine: e}
		k.Server(t, &sipproxy.Server{Handler: sipproxy.Chain{rl.Middleware, recordroute.Router{Params: rl.Params}.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(map[string]string{"bob": bobIP, "carol": carolIP}[r.URI.User])})
			})})
		s := &stage{t: t, k: k, e: e, rl: rl, alice: k.Phone("alice", aliceIP), bob: k.Phone("bob", bobIP)}
		carol := k.Phone("carol", carolIP)
		s.alice.SDP, s.bob.SDP, carol.SDP = audio("10.0.0.1", 10000, ""), audio("10.0.0.2", 20000, ""), audio("10.0.0.3", 30000, "")
		s.bob.Ring()
		carol.AnswerAfter(time.Second)
		call := s.alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Expect(180)
		settle()
		require.Equal(t, 2, e.sessions())
		answer := call.Expect(200)
		call.Ack()
		in := carol.Incoming(t)
		in.ExpectAck()
		ports := map[uint16]uint16{40000: 50000, 46400: 56400}
		d, err := rtprelay.ParseSDP(in.Invitation().Body())
		require.NoError(t, err)
		relays(t, &answer.Header, ports[d.Media[0].Port])
		settle()
		require.Equal(t, 1, e.sessions())
		call.Reinvite()
		relays(t, &in.ExpectRequest(sip.INVITE).Header, d.Media[0].Port)
		in.ExpectAck()
		call.Bye()
		in.ExpectBye()
		s.over()
	})
}

// TestRelayForkedEarlyMedia: an announcement with a tag of its own comes before the 200 of another. The session of the branch follows: the
// engine hears of the callee who answers, and one delete ends it.
func TestRelayForkedEarlyMedia(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := newStage(t, k, nil)
		var asked []string
		s.e.interfere = func(_ string, p rtprelay.Params) (rtprelay.Result, error, bool) {
			asked = append(asked, p.SDP)
			return rtprelay.Result{}, nil, false
		}
		announcement := audio("10.0.0.3", 30000, "")
		s.bob.OnCall(func(c *siptest.Call) {
			c.Respond(183, func(r *sip.Response) {
				r.SetToTag("ivr-1")
				r.SetBody("application/sdp", announcement)
			})
			time.Sleep(time.Second)
			c.Answer()
		})
		call := s.alice.Invite(t, "sip:bob@example.com")
		relays(t, &call.Expect(183).Header, 50000)
		require.Equal(t, "offer 0 alice> 192.0.2.10\nanswer 0 alice>ivr 192.0.2.20 at fra/1 é", s.e.take(false))
		answer := call.Expect(200)
		relays(t, &answer.Header, 50000)
		call.Ack()
		in := s.bob.Incoming(t)
		in.ExpectAck()
		require.Equal(t, "answer 0 alice>bob 192.0.2.20 at fra/1 é", s.e.take(false))
		require.Equal(t, []string{s.alice.SDP, announcement, s.bob.SDP}, asked)
		require.Equal(t, 1, s.e.sessions())
		require.Equal(t, 1, s.rl.Stats().Legs)

		in.Reinvite() // the dialog that goes on is that of the 200
		call.ExpectRequest(sip.INVITE)
		call.ExpectAck()
		require.Equal(t, "offer 0 alice>bob 192.0.2.20 swap at fra/1 é\nanswer 0 alice>bob 192.0.2.10 swap at fra/1 é", s.e.take(false))
		in.Bye()
		call.ExpectBye()
		require.Equal(t, "delete 0 alice>bob", s.e.take(false))
		s.over()
	})
}

// TestRelayCancelCrosses200: the 200 wins, so its session stays until the BYE; a CANCEL that wins deletes it, whatever the early answer was.
func TestRelayCancelCrosses200(t *testing.T) {
	for _, crossing := range []bool{true, false} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			s := newStage(t, k, nil)
			k.Network.SetLink(bobIP, "", siptest.Link{Delay: 300 * time.Millisecond})
			s.bob.Silent()
			call := s.alice.Invite(t, "sip:bob@example.com")
			in := s.bob.Incoming(t)
			in.Respond(183, func(r *sip.Response) { r.SetBody("application/sdp", s.bob.SDP) })
			relays(t, &call.Expect(183).Header, 50000)
			require.Equal(t, "offer 0 alice> 192.0.2.10\nanswer 0 alice>bob 192.0.2.20 at fra/1 é", s.e.take(false))
			if !crossing {
				call.Cancel()
				in.ExpectCancel()
				require.Empty(t, s.e.take(false), "until the callee has said 487")
				call.Expect(487)
				require.Equal(t, "delete 0 alice>bob", s.e.take(false))
				s.over()
				return
			}
			in.Answer()
			call.Cancel()
			in.ExpectCancel()
			relays(t, &call.Expect(200).Header, 50000)
			call.Ack()
			in.ExpectAck()
			require.Equal(t, "answer 0 alice>bob 192.0.2.20 at fra/1 é", s.e.take(false), "and no delete")
			require.Equal(t, 1, s.e.sessions())
			call.Bye()
			in.ExpectBye()
			require.Equal(t, "delete 0 alice>bob", s.e.take(false))
			s.over()
		})
	}
}
