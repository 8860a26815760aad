package sipproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// §16.6 step 9, §18.3: what came in a datagram without Content-Length gets one, whatever way it leaves by.
func TestContentLengthIsAdded(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto != transport.UDP {
			t.Skip("a stream cannot do without")
		}
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			target := to(r, "192.0.2.20")
			target.URI = target.URI.WithParam("transport", "tcp")
			return r.Forward(ctx, target)
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		for body, want := range map[string]string{"": "0", "hello": "5"} {
			alice.Send(raw(k, "OPTIONS", "sip:bob@example.com", "Content-Length", "") + body)
			got := bob.Received(t, sip.OPTIONS)
			require.Equal(t, want, got.Get("Content-Length"))
			require.Equal(t, body, got.Body())
			require.Equal(t, 200, response(t, alice.Receive()).Code)
		}
	})
}

// §18.1.2: a response whose sent-by is none of ours is dropped and counted, whatever its branch says.
func TestResponseWithForeignSentBy(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := serve(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		call.Expect(100)
		ours := "192.0.2.101:5060"
		for i, foreign := range []string{"192.0.2.66:5060", "192.0.2.101:5099", "proxy.example:5060", "192.0.2.66"} {
			res := sip.NewResponse(b.Invitation(), 180, "", "b").String()
			require.Contains(t, res, ours)
			bob.Send(strings.Replace(res, ours, foreign, 1))
			call.Nothing(time.Second)
			require.EqualValues(t, i+1, s.Stats().StrayResponses, foreign)
		}
		b.Answer()
		call.Expect(200)
		call.Ack()
		call.Bye()
	})
}

// §8.2.2.3: a Proxy-Require in a CANCEL says nothing; without state it would keep the CANCEL from its INVITE.
func TestProxyRequireOfCancel(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		stateless(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Raw()
		invite := raw(k, "INVITE", "sip:b@example.com")
		alice.Send(invite)
		bob.Receive()
		cancel := strings.ReplaceAll(invite, "INVITE", "CANCEL")
		alice.Send(strings.Replace(cancel, "Contact:", "Proxy-Require: foo\r\nContact:", 1))
		require.Equal(t, sip.CANCEL, request(t, bob.Receive()).Method)
	})
}

// Nor does it in the ACK of a refusal: lost, it would make the callee repeat that for 32 s.
func TestProxyRequireOfAck(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		stateless(t, k, forks(k, "192.0.2.20"))
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Raw()
		invite := raw(k, "INVITE", "sip:b@example.com")
		alice.Send(invite)
		bob.Send(sip.NewResponse(request(t, bob.Receive()), 486, "", "b").String())
		ack := strings.ReplaceAll(invite, "INVITE", "ACK")
		ack = strings.Replace(ack, "To: "+request(t, invite).Get("To"), "To: "+response(t, alice.Receive()).Get("To"), 1)
		alice.Send(strings.Replace(ack, "Contact:", "Proxy-Require: foo\r\nContact:", 1))
		require.Equal(t, sip.ACK, request(t, bob.Receive()).Method)
	})
}

// RFC 5393 §4.2: a request that comes back with another password, or scheme, has not looped.
func TestSpiralByPassword(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			target := at(k, r, "192.0.2.20")
			if r.URI.Password == "" {
				target = at(k, r, "192.0.2.101")
				target.URI.Password = "again"
			}
			return r.Forward(ctx, target)
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		alice.Request(t, sip.OPTIONS, addressOf(k, "192.0.2.101")).Expect(200)
		require.Equal(t, "again", bob.Received(t, sip.OPTIONS).URI.Password)
	})
}

// A hook that ends its goroutine (a failed assertion does) keeps no later response from its own way.
func TestGoexitInLateHook(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		n := 0
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnResponse(func(*sipproxy.Branch, *sip.Response) {
				if n++; n == 2 {
					runtime.Goexit()
				}
			})
			return r.Forward(ctx, ats(k, r, "192.0.2.20")...)
		})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		bob.Silent()
		call := alice.Invite(t, "sip:bob@example.com")
		b := bob.Incoming(t)
		b.Answer()
		call.Expect(200)
		call.Ack()
		for _, tag := range []string{"lost", "kept"} { // two callees behind a fork further on
			res := sip.NewResponse(b.Invitation(), 200, "", tag)
			res.Add("Contact", "<sip:bob@192.0.2.20>")
			bob.Send(res.String())
		}
		call.Fork()
	})
}

// Whoever still has to be answered keeps his connection, however long nothing is said on it.
func TestConnectionOfPendingRequestStaysOpen(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto != transport.TCP {
			t.Skip("connections")
		}
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			var res *sip.Response
			for _, target := range ats(k, r, "192.0.2.20", "192.0.2.30", "192.0.2.40") {
				res = r.Forward(ctx, target)
			}
			return res
		})
		for _, ip := range []string{"192.0.2.20", "192.0.2.30"} {
			k.Phone("p"+ip, ip).OnCall(func(c *siptest.Call) { c.Trying() }) // 181 s each, and nothing for the caller
		}
		k.Phone("last", "192.0.2.40").Refuse(486)
		conn, err := k.Network.Host("192.0.2.10").Dial(t.Context(), "tcp", "", "192.0.2.101:5060")
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		_, err = conn.Write([]byte(raw(k, "INVITE", "sip:bob@example.com")))
		require.NoError(t, err)
		start := time.Now()
		var got strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(got.String(), "SIP/2.0 486 ") {
			n, err := conn.Read(buf)
			require.NoError(t, err, "%v %s", since(start), got.String())
			got.Write(buf[:n])
		}
		require.Greater(t, since(start), 6*time.Minute)
		// Answered and then silent, it goes as others do.
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Hour)))
		for err == nil {
			_, err = conn.Read(buf)
		}
		require.False(t, errors.Is(err, os.ErrDeadlineExceeded), err)
		var ne net.Error
		require.True(t, errors.Is(err, io.EOF) || !errors.As(err, &ne) || !ne.Timeout(), err)
	})
}

// RFC 5393 §5.3.3: with a Max-Breadth that came along, branches made by Fork have to fit what is left of it.
func TestMaxBreadthOfFork(t *testing.T) {
	for breadth, want := range map[string]struct{ first, second string }{"4": {"3", "1"}, "1": {"1", ""}, "": {"53", "6"}, "100": {"53", "6"}} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			s := serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
				r.OnResponse(func(b *sipproxy.Branch, res *sip.Response) {
					if res.Code == 180 && b.ID == 0 {
						b.Fork(at(k, r, "192.0.2.30"))
					}
				})
				return r.Forward(ctx, at(k, r, "192.0.2.20"))
			})
			alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
			bob.Ring()
			carol.Ring()
			call := alice.Invite(t, "sip:bob@example.com", func(r *sip.Request) {
				if breadth != "" {
					r.Set("Max-Breadth", breadth)
				}
			})
			call.Expect(180)
			require.Equal(t, want.first, bob.Incoming(t).Invitation().Get("Max-Breadth"))
			if want.second != "" {
				require.Equal(t, want.second, carol.Incoming(t).Invitation().Get("Max-Breadth"))
			} else {
				carol.NoCall(t, time.Second)
				require.EqualValues(t, 1, s.Stats().OverBranches)
			}
			call.Cancel()
			require.Equal(t, 487, call.Final().Code)
		})
	}
}

// A 3xx gives back what its branch had, before the hooks fork.
func TestMaxBreadthOfRecursion(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnResponse(func(b *sipproxy.Branch, res *sip.Response) {
				if res.Code == 302 {
					b.Fork(at(k, r, "192.0.2.30"))
				}
			})
			return r.Forward(ctx, at(k, r, "192.0.2.20"))
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		bob.Redirect(302, "sip:carol@192.0.2.30")
		call := alice.Call(t, "sip:bob@example.com", func(r *sip.Request) { r.Set("Max-Breadth", "1") })
		require.Equal(t, "1", carol.Incoming(t).Invitation().Get("Max-Breadth"))
		call.Bye()
	})
}

// What a hook has forked with is not there any more for the next address of the target, or for its alternative.
func TestMaxBreadthOfNextTry(t *testing.T) {
	for name, target := range map[string]func(k *siptest.Kit, r *sipproxy.Request) sipproxy.Target{
		"address": func(k *siptest.Kit, r *sipproxy.Request) sipproxy.Target { return at(k, r, "gw.example") },
		"else": func(k *siptest.Kit, r *sipproxy.Request) sipproxy.Target {
			t := at(k, r, "192.0.2.20")
			t.Else = ats(k, r, "192.0.2.30")
			return t
		},
	} {
		for breadth, want := range map[string][]string{"1": {"1"}, "2": {"1", "1"}, "5": {"2", "2"}} {
			t.Run(name+" "+breadth, func(t *testing.T) {
				siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
					k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"gw.example": {"192.0.2.20", "192.0.2.30"}}})
					serve(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
						r.OnResponse(func(b *sipproxy.Branch, res *sip.Response) {
							if res.Code == 503 {
								b.Fork(at(k, r, "192.0.2.40"))
							}
						})
						return r.Forward(ctx, target(k, r))
					})
					alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
					next, forked := k.Phone("next", "192.0.2.30"), k.Phone("forked", "192.0.2.40")
					bob.Refuse(503)
					next.Ring()
					forked.Ring()
					call := alice.Invite(t, "sip:bob@example.com", func(r *sip.Request) { r.Set("Max-Breadth", breadth) })
					call.Expect(180)
					require.Equal(t, want[0], forked.Incoming(t).Invitation().Get("Max-Breadth"))
					if len(want) > 1 {
						require.Equal(t, want[1], next.Incoming(t).Invitation().Get("Max-Breadth"))
					} else {
						next.NoCall(t, time.Second)
					}
					call.Cancel()
					require.Equal(t, 487, call.Final().Code)
				})
			})
		}
	}
}

// Contract 1: a receipt that the handler edits is logged; what went upstream went.
func TestEditedReceiptIsLogged(t *testing.T) {
	for _, edited := range []bool{false, true} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			var log lockedLog
			k.Server(t, &sipproxy.Server{
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
				Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					res := r.Forward(ctx, at(k, r, "192.0.2.20"))
					if edited && r.Method == sip.INVITE {
						res.Set("Subject", "too late")
					}
					return res
				}),
			})
			alice := k.Phone("alice", "192.0.2.10")
			k.Phone("bob", "192.0.2.20")
			call := alice.Invite(t, "sip:bob@example.com")
			require.False(t, call.Final().Has("Subject"))
			call.Ack()
			time.Sleep(time.Second)
			require.Equal(t, edited, strings.Contains(log.text(), "handler returned another response"), log.text())
			call.Bye()
		})
	}
}

// A response to something else would tell the caller nothing: it is a fault of the handler.
func TestResponseOfAnotherTransaction(t *testing.T) {
	for _, mode := range []sipproxy.Mode{sipproxy.Stateful, sipproxy.Stateless} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			var kept *sip.Response
			s := k.Server(t, &sipproxy.Server{
				Accept: func(*sipproxy.Request) sipproxy.Mode { return mode },
				Handler: sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response {
					if kept == nil {
						kept = r.Reply(404)
					}
					return kept
				}),
			})
			alice := k.Phone("alice", "192.0.2.10")
			alice.Request(t, sip.OPTIONS, "sip:a@example.com").Expect(404)
			alice.Request(t, sip.OPTIONS, "sip:b@example.com").Expect(500)
			require.EqualValues(t, 1, s.Stats().BadReturns)
		})
	}
}

// A Forward after the handler has returned has no task to wait on: it says so and does nothing.
func TestForwardAfterReturn(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		var old *sipproxy.Request
		var code int
		h := func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			old = r
			return r.Reply(404)
		}
		// siptest would name the wrong goroutine, which is the same mistake; the engine alone has to bear it too.
		s := &sipproxy.Server{Handler: sipproxy.HandlerFunc(h), Net: plainNet{k.Network.Host("192.0.2.101")}, Runner: k.Runner,
			Listen: []string{k.Proto.String() + ":192.0.2.101:5060"}}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(context.Background()) }()
		<-s.Ready()
		k.Phone("alice", "192.0.2.10").Request(t, sip.OPTIONS, addressOf(k, "192.0.2.101")).Expect(404)
		time.Sleep(time.Second)
		code = old.Forward(context.Background(), at(k, old, "192.0.2.20")).Code
		require.Equal(t, 487, code)
		require.NoError(t, s.Shutdown(context.Background()))
		require.NoError(t, <-ended)
	})
}

// plainNet hides what siptest's network can do beyond a Net.
type plainNet struct{ transport.Net }

// Before Ready there are no keys: nothing is signed, and nothing believed.
func TestKeysBeforeReady(t *testing.T) {
	s := &sipproxy.Server{}
	require.Empty(t, s.Sign("test", "x"))
	require.False(t, s.Verify("", "test", "x"))
	current, previous := s.Key()
	require.Nil(t, current)
	require.Nil(t, previous)
}

// A lockedLog takes the lines of a logger.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// addressOf is the URI of bob at a host, over the transport of the run.
func addressOf(k *siptest.Kit, host string) string {
	return at(k, &sipproxy.Request{URI: sip.URI{Scheme: "sip", User: "bob"}}, host).URI.String()
}

// What hooks and handlers must not do costs the request an answer of another kind, and nothing else.
func TestHooksThatSpoilMessages(t *testing.T) {
	cases := map[string]struct {
		code int
		do   func(r *sipproxy.Request)
	}{
		"no request for the branch": {500, func(r *sipproxy.Request) { r.OnBranch(func(b *sipproxy.Branch) { b.Request = nil }) }},
		"no request for the try":    {500, func(r *sipproxy.Request) { r.OnSend(func(b *sipproxy.Branch) { b.Request = nil }) }},
		"a final made provisional": {486, func(r *sipproxy.Request) {
			r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) { res.Code = 183 })
		}},
		"a final without code": {486, func(r *sipproxy.Request) {
			r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) { res.Code = 0 })
		}},
		"an empty provisional": {486, func(r *sipproxy.Request) { r.Send(&sip.Response{Code: 180}) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
				k.Server(t, &sipproxy.Server{
					Logger: slog.New(slog.DiscardHandler),
					Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
						c.do(r)
						return r.Forward(ctx, at(k, r, "192.0.2.20"))
					}),
				})
				k.Phone("bob", "192.0.2.20").Refuse(486)
				call := k.Phone("alice", "192.0.2.10").Invite(t, "sip:bob@example.com")
				require.Equal(t, c.code, call.Final().Code)
			})
		})
	}
}

// §18.2.2: answers travel back by the connection the request came by, also without state and without rport.
func TestStatelessAnswersOnTheConnection(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto != transport.TCP {
			t.Skip("connections")
		}
		stateless(t, k, forks(k, "192.0.2.20"))
		bob := k.Phone("bob", "192.0.2.20")
		bob.Raw()
		conn, err := k.Network.Host("192.0.2.10").Dial(t.Context(), "tcp", "", "192.0.2.101:5060")
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		other, err := k.Network.Host("192.0.2.10").Dial(t.Context(), "tcp", "", "192.0.2.101:5060")
		require.NoError(t, err)
		defer func() { _ = other.Close() }()
		for i, sentBy := range []string{"192.0.2.10:5060", "192.0.2.10", "alice.example", "alice.example:5070"} {
			id := fmt.Sprint("z9hG4bKhint", i)
			invite := raw(k, "INVITE", "sip:b@example.com", "Via", "SIP/2.0/TCP "+sentBy+";branch="+id, "Call-ID", id)
			_, err = conn.Write([]byte(invite))
			require.NoError(t, err)
			got := request(t, bob.Receive())
			bob.Send(sip.NewResponse(got, 180, "", "b").String())
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
			buf := make([]byte, 4096)
			n, err := conn.Read(buf)
			require.NoError(t, err, sentBy)
			require.Equal(t, 180, response(t, string(buf[:n])).Code)
			// A CANCEL that comes by another connection has the same branch.
			_, err = other.Write([]byte(strings.ReplaceAll(invite, "INVITE", "CANCEL")))
			require.NoError(t, err)
			require.Equal(t, got.Branch(), request(t, bob.Receive()).Branch())
		}
	})
}

// §9.1, §18.1.1: when the connection of a ringing INVITE has broken, CANCEL and ACK go by a new one.
func TestCancelAfterTheConnectionBroke(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		if k.Proto != transport.TCP {
			t.Skip("connections")
		}
		serve(t, k, forks(k, "192.0.2.20"))
		alice := k.Phone("alice", "192.0.2.10")
		ln, err := k.Network.Host("192.0.2.20").Listen(t.Context(), "tcp", "192.0.2.20:5060")
		require.NoError(t, err)
		defer func() { _ = ln.Close() }()
		accept := func() (net.Conn, func() *sip.Request) {
			conn, err := ln.Accept()
			require.NoError(t, err)
			buf := make([]byte, 4096)
			return conn, func() *sip.Request {
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
				n, err := conn.Read(buf)
				require.NoError(t, err)
				return request(t, string(buf[:n]))
			}
		}
		say := func(conn net.Conn, r *sip.Request, code int) {
			_, err := conn.Write([]byte(sip.NewResponse(r, code, "", "b").String()))
			require.NoError(t, err)
		}
		call := alice.Invite(t, "sip:bob@example.com")
		first, read := accept()
		invite := read()
		say(first, invite, 180)
		call.Expect(180)
		require.NoError(t, first.Close())
		time.Sleep(time.Second)
		call.Cancel()
		second, read := accept()
		defer func() { _ = second.Close() }()
		cancel := read()
		require.Equal(t, sip.CANCEL, cancel.Method)
		require.Equal(t, invite.Branch(), cancel.Branch())
		say(second, cancel, 200)
		say(second, invite, 487)
		require.Equal(t, sip.ACK, read().Method)
		require.Equal(t, 487, call.Final().Code)
	})
}

// §17.2.1, contract 1: the 100 goes out after 200 ms although the handler holds up its reader.
func TestTryingWhileTheHandlerBlocks(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		serve(t, k, func(_ context.Context, r *sipproxy.Request) *sip.Response {
			time.Sleep(time.Second)
			return r.Reply(404)
		})
		alice := k.Phone("alice", "192.0.2.10")
		start := time.Now()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(100)
		require.InDelta(t, 0.2, since(start).Seconds(), 0.05)
		call.Expect(404)
		require.InDelta(t, 1, since(start).Seconds(), 0.05)
	})
}

// §18.1.1: a large request whose TCP connection is refused goes by UDP, without state too, and the next one at once.
func TestLargeRequestWhereTCPIsRefused(t *testing.T) {
	for _, mode := range []sipproxy.Mode{sipproxy.Stateful, sipproxy.Stateless} {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			s := k.Server(t, &sipproxy.Server{
				Accept: func(*sipproxy.Request) sipproxy.Mode { return mode },
				Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
					return r.Forward(ctx, to(r, "192.0.2.20"))
				}),
			})
			alice, bob := k.Phone("alice", "192.0.2.10"), socket(t, k, "192.0.2.20") // UDP only
			for i := range 2 {
				alice.Send(raw(k, "MESSAGE", "sip:b@example.com", "Subject", strings.Repeat("x", 1400)))
				got := request(t, bob.read())
				require.Contains(t, got.Get("Via"), "SIP/2.0/UDP 192.0.2.101")
				bob.send(sip.NewResponse(got, 200, "", "b").String())
				require.Equal(t, 200, response(t, alice.Receive()).Code)
				require.EqualValues(t, 1, s.Stats().Transport.DialFailed, "%d", i)
			}
		})
	}
}
