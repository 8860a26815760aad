package sipproxy_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// Contract 6: OnBranch and OnSend in the order given, OnResponse in reverse.
func TestHookOrder(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var order []string
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.InDialog() {
				return r.Forward(ctx)
			}
			for _, n := range []string{"1", "2"} {
				r.OnBranch(func(b *sipproxy.Branch) {
					require.True(t, b.Remote.IsZero())
					require.True(t, b.Flow.IsZero())
					order = append(order, "branch"+n)
				})
				r.OnSend(func(b *sipproxy.Branch) {
					require.Equal(t, "192.0.2.20:5060", b.Remote.AddrPort.String())
					require.False(t, b.Flow.IsZero())
					via, err := b.Request.Via()
					require.NoError(t, err)
					require.Equal(t, "192.0.2.101", via.Host)
					order = append(order, "send"+n)
				})
				r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) {
					order = append(order, fmt.Sprint("response", n, res.Code))
				})
			}
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Refuse(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486)
		require.Equal(t, "branch1 branch2 send1 send2 response2486 response1486", strings.Join(order, " "))
	})
}

// Contract 6: OnResponse gets every response, those the engine made included, edits it, and what it edits goes upstream.
func TestOnResponseSeesAll(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.ICMP = true
		k.Network.Host("192.0.2.30")
		var seen []string
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnResponse(func(b *sipproxy.Branch, res *sip.Response) {
				seen = append(seen, fmt.Sprintf("%d %d %v", b.ID, res.Code, res.Cause != nil))
				res.Set("X-Seen", fmt.Sprint(res.Code))
				if res.Code == 183 {
					res.SetBody("text/plain", "early")
				}
			})
			res := r.Forward(ctx, at(k, r, "192.0.2.30"))
			require.Equal(t, "503", res.Get("X-Seen"))
			mute := at(k, r, "192.0.2.40")
			mute.Trying = time.Second
			require.Equal(t, "408", r.Forward(ctx, mute).Get("X-Seen"))
			require.Equal(t, "503", r.Forward(ctx, at(k, r, "nowhere.example")).Get("X-Seen"))
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		k.Phone("mute", "192.0.2.40").Silent()
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.Trying()
		in.Respond(183)
		res := call.Expect(183)
		require.Equal(t, "early", res.Body())
		require.Equal(t, "183", res.Get("X-Seen"))
		in.Answer()
		require.Equal(t, "200", call.Expect(200).Get("X-Seen"))
		call.Ack()
		call.Bye()
		require.Equal(t, []string{"0 503 true", "1 408 true", "2 503 true", "3 183 false", "3 200 false"}, seen)
	})
}

// Contract 6: a repeated 2xx resends the bytes first made, and no hook hears of it again, also while the first is still held by a hook.
func TestRepeated2xxThroughHooks(t *testing.T) {
	for _, wait := range []time.Duration{0, 3 * time.Second} {
		for _, tag := range []bool{false, true} {
			siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
				runs := 0
				serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) {
						if res.Code != 200 {
							return
						}
						runs++
						if wait > 0 {
							sipproxy.Block(ctx, func() { time.Sleep(wait) })
						}
						res.Set("X-Run", fmt.Sprint(runs))
						if tag {
							res.SetToTag("hidden")
						}
					})
					return r.Forward(ctx, at(k, r, "192.0.2.20"))
				})
				alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				bob.Lenient = true
				bob.Silent()
				alice.Send(raw(k, "INVITE", "sip:bob@example.com"))
				in := bob.Incoming(t)
				require.Equal(t, 100, response(t, alice.Receive()).Code)
				in.Answer()
				first := alice.Receive()
				require.Contains(t, first, "X-Run: 1")
				for range 3 {
					require.Equal(t, first, alice.Receive())
				}
				require.Equal(t, 1, runs)
				// bob ends it
				inv := in.Invitation()
				ack := sip.NewRequest(sip.ACK, sip.MustParseURI(bob.Contact()))
				ack.Add("Via", "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKlastack")
				ack.Add("Max-Forwards", "70")
				ack.Add("From", inv.Get("From"))
				ack.Add("To", inv.Get("To")+";tag=bob-1")
				ack.Add("Call-ID", inv.CallID())
				ack.Add("CSeq", "1 ACK")
				alice.SendTo("192.0.2.20:5060", ack.String())
				in.ExpectAck()
			})
		}
	}
}

// Contract 6: responses queue in their order behind a hook that waits; the reader goes on with others meanwhile.
func TestResponsesQueueBehindAHook(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var seen []int
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.Method == sip.MESSAGE {
				return r.Reply(200)
			}
			if r.InDialog() {
				return r.Forward(ctx)
			}
			r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) {
				if res.Code == 180 {
					sipproxy.Block(ctx, func() { time.Sleep(2 * time.Second) })
				}
				seen = append(seen, res.Code)
			})
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		call.Expect(100)
		start := time.Now()
		in.Ring()
		in.Respond(183)
		in.Answer()
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(200)
		require.Zero(t, since(start), "the reader was held up")
		call.Expect(180)
		require.Equal(t, 2*time.Second, since(start))
		call.Expect(183)
		call.Expect(200)
		call.Ack()
		call.Bye()
		require.Equal(t, []int{180, 183, 200}, seen)
	})
}

// Contract 6: a response that comes between the end of Forward and that of the handler waits for its hooks, and goes through them when the handler returns.
func TestResponseBeforeTheHandlerReturns(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		seen := 0
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.InDialog() {
				return r.Forward(ctx)
			}
			r.OnResponse(func(*sipproxy.Branch, *sip.Response) { seen++ })
			res := r.Forward(ctx, ats(k, r, "192.0.2.20")...)
			sipproxy.Block(ctx, func() { time.Sleep(2 * time.Second) })
			return res
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		in := bob.Incoming(t)
		in.Answer()
		call.Expect(200)
		call.Ack()
		start := time.Now()
		res := sip.NewResponse(in.Invitation(), 200, "", "another") // a second callee behind a fork further on
		res.Add("Contact", "<sip:bob@192.0.2.20>")
		bob.Send(res.String())
		call.Fork()
		require.Equal(t, 2*time.Second, since(start))
		require.Equal(t, 2, seen)
	})
}

// Contract 6: hooks run after the handler has returned too, one at a time, and may Block there.
func TestHooksAfterTheHandler(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		running, most, late := 0, 0, 0
		returned := false
		s := serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			if r.InDialog() {
				return r.Forward(ctx)
			}
			r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) {
				running++
				most = max(most, running)
				sipproxy.Block(ctx, func() { time.Sleep(time.Second) })
				running--
				if returned && res.Code == 200 {
					res.Set("X-Late", "yes")
					late++
				}
			})
			res := r.Forward(ctx, ats(k, r, "192.0.2.20", "192.0.2.30", "192.0.2.40")...)
			returned = true
			return res
		})
		alice := k.Phone("alice", "192.0.2.10")
		var phones []*siptest.Phone
		for i, ip := range []string{"192.0.2.20", "192.0.2.30", "192.0.2.40"} {
			phones = append(phones, k.Phone("p"+ip, ip))
			phones[i].Silent()
		}
		call := alice.Invite(t, "sip:bob@example.com")
		var in []*siptest.Call
		for i, p := range phones {
			in = append(in, p.Incoming(t))
			k.Network.SetLink(p.Addr().Addr().String(), "192.0.2.101", siptest.Link{Delay: time.Duration(i) * 3 * time.Second})
		}
		for _, c := range in {
			c.Answer()
		}
		require.False(t, call.Expect(200).Has("X-Late"))
		call.Ack()
		for range 2 {
			other := call.Fork()
			other.Ack()
			other.Bye()
		}
		call.Bye()
		require.Equal(t, 2, late)
		require.Equal(t, 1, most)
		require.Zero(t, s.Stats().Panics)
	})
}

// Contract 2: a panic in any hook is a 500 and a counter; the next request is served.
func TestPanicInHooks(t *testing.T) {
	for _, where := range []string{"branch", "send", "response", "late"} {
		t.Run(where, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				boom := func(is bool) {
					if is {
						panic("hook")
					}
				}
				s := serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					if r.URI.User == "x" {
						r.OnBranch(func(*sipproxy.Branch) { boom(where == "branch") })
						r.OnSend(func(*sipproxy.Branch) { boom(where == "send") })
						n := 0
						r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) {
							n++
							boom(where == "response" || where == "late" && n == 2)
						})
					}
					return r.Forward(ctx, ats(k, r, "192.0.2.20", "192.0.2.30")...)
				})
				alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
				bob.Refuse(486)
				carol.Refuse(404)
				call := alice.Invite(t, "sip:x@example.com")
				call.Expect(500)
				call.Nothing(time.Minute)
				require.Positive(t, s.Stats().Panics)
				alice.Invite(t, "sip:bob@example.com").Expect(486, 404)
			})
		})
	}
}

// Contract 2 and DESIGN section 5: runtime.Goexit in a handler (t.FailNow) is a 500, and the reader goes on.
func TestGoexit(t *testing.T) {
	for _, where := range []string{"handler", "after Forward", "hook", "Block"} {
		t.Run(where, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					if r.URI.User == "x" {
						switch where {
						case "handler":
							runtime.Goexit()
						case "after Forward":
							r.Forward(ctx, at(k, r, "192.0.2.20"))
							runtime.Goexit()
						case "hook":
							r.OnResponse(func(*sipproxy.Branch, *sip.Response) { runtime.Goexit() })
						case "Block":
							sipproxy.Block(ctx, runtime.Goexit)
							return nil
						}
					}
					return r.Forward(ctx, at(k, r, "192.0.2.20"))
				})
				alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
				bob.Refuse(486)
				for range 3 {
					alice.Invite(t, "sip:x@example.com").Expect(500)
				}
				alice.Invite(t, "sip:bob@example.com").Expect(486)
			})
		})
	}
}

// Contract 6 and §18.1.1: what OnSend adds makes the request too large for UDP: it goes by TCP, with OnSend done once more on a fresh copy; by UDP
// where the server says so.
func TestSizeIsCheckedAfterOnSend(t *testing.T) {
	for _, udp := range []bool{false, true} {
		siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
			var protos []transport.Proto
			k.Server(t, &sipproxy.Server{LargeUDP: udp, Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				r.OnSend(func(b *sipproxy.Branch) {
					require.False(t, b.Request.Has("X-Big"))
					b.Request.Set("X-Big", strings.Repeat("x", 1000))
					protos = append(protos, b.Flow.Proto())
				})
				return r.Forward(ctx, at(k, r, "192.0.2.20"))
			})})
			alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
			alice.Request(t, sip.MESSAGE, "sip:bob@example.com", func(r *sip.Request) { r.SetBody("text/plain", strings.Repeat("y", 400)) }).Expect(200)
			require.True(t, bob.Received(t, sip.MESSAGE).Has("X-Big"))
			if udp {
				require.Equal(t, []transport.Proto{transport.UDP}, protos)
			} else {
				require.Equal(t, []transport.Proto{transport.UDP, transport.TCP}, protos)
			}
		})
	}
}

// A small request that OnSend makes too large in one go.
func TestSmallRequestGrowsLarge(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnSend(func(b *sipproxy.Branch) { b.Request.Set("X-Big", strings.Repeat("x", 1300)) })
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(200)
		via, _ := bob.Received(t, sip.MESSAGE).Via()
		require.Equal(t, "TCP", via.Transport)
	})
}

// Contract 14: siptest fails a test that calls Forward, Send or Block from another goroutine.
func TestWrongGoroutine(t *testing.T) {
	for _, what := range []string{"Forward", "Send", "Block"} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			caught := &wrong{Host: k.Network.Host("192.0.2.101")}
			k.Server(t, &sipproxy.Server{
				Net: caught, Listen: []string{"udp:192.0.2.101:5060", "tcp:192.0.2.101:5060"},
				Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					done := make(chan struct{})
					go func() {
						defer close(done)
						switch what {
						case "Forward":
							r.Forward(ctx, at(k, r, "192.0.2.20"))
						case "Send":
							r.Send(r.Reply(183))
						case "Block":
							sipproxy.Block(ctx, func() {})
						}
					}()
					<-done
					return r.Reply(486)
				}),
			})
			k.Phone("alice", "192.0.2.10").Invite(t, "sip:bob@example.com").Expect(486)
			require.Equal(t, []string{what}, caught.list)
		})
	}
}

// wrong is a host that notes what siptest would fail the test for.
type wrong struct {
	*siptest.Host
	list []string
}

func (w *wrong) WrongGoroutine(what string) {
	w.list = append(w.list, what)
	runtime.Goexit()
}

// What the copies for further tries share with the request that went out is that one's, whatever calls come behind it.
func TestCopiesForTriesKeepApart(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto != transport.UDP {
			return // no copies are made, and nothing is sent again
		}
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnBranch(func(b *sipproxy.Branch) { b.Request.Set("X-Edited", r.Get("X-Long")) })
			r.OnSend(func(b *sipproxy.Branch) { b.Request.Set("X-Sent", r.CallID()) })
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob := socket(t, k, "192.0.2.10"), socket(t, k, "192.0.2.20")
		var sent []string
		for _, long := range []int{400, 100, 30, 200, 60, 40, 500, 10} {
			n := fmt.Sprint(len(sent))
			alice.send(raw(k, "INVITE", "sip:b@192.0.2.20", "Via", "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK"+n, "Call-ID", n, "X-Long", strings.Repeat(n, long)))
			sent = append(sent, bob.read())
			require.Contains(t, sent[len(sent)-1], "X-Edited: "+strings.Repeat(n, long)+"\r\nX-Sent: "+n+"\r\n")
		}
		for range sent {
			require.Contains(t, sent, bob.read()) // each of them once more
		}
	})
}

// A request in whose place a hook put another one may be with whoever the hook gave it to, and is left alone.
func TestReplacedRequestIsLeftAlone(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var kept *sip.Request
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnSend(func(b *sipproxy.Branch) {
				if kept == nil {
					kept = b.Request
					b.Request = b.Request.Clone()
				}
			})
			first := to(r, "192.0.2.20")
			first.URI = first.URI.WithParam("transport", "tcp") // no copy for a further try
			r.Forward(ctx, first)
			return r.Forward(ctx, to(r, "192.0.2.30"))
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Refuse(486)
		carol.Refuse(404)
		alice.Invite(t, "sip:bob@example.com").Expect(404)
		require.Contains(t, kept.String(), ";transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP ")
	})
}
