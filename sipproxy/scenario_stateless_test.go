package sipproxy_test

import (
	"context"
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

// stateless starts a server without state.
func stateless(t *testing.T, k *siptest.Kit, h sipproxy.HandlerFunc) *sipproxy.Server {
	t.Helper()
	return k.Server(t, &sipproxy.Server{Handler: h, Accept: func(*sipproxy.Request) sipproxy.Mode { return sipproxy.Stateless }})
}

// §16.11: a call through a proxy without state, answered, refused and cancelled; the phones' own transactions do the rest.
func TestStatelessCall(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := stateless(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			require.Equal(t, sipproxy.Stateless, r.Mode())
			require.Nil(t, r.Forward(ctx, at(k, r, "192.0.2.20"), at(k, r, "192.0.2.30")))
			return nil
		})
		alice, bob, carol := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("carol", "192.0.2.30")
		good(t, alice, bob)
		bob.Refuse(486)
		alice.Invite(t, "sip:bob@example.com").Expect(486) // bob demands the ACK with the INVITE's branch
		bob.Ring()
		call := alice.Invite(t, "sip:bob@example.com")
		call.Expect(180)
		call.Cancel()
		call.Expect(487)
		alice.Request(t, sip.MESSAGE, "sip:bob@example.com").Expect(200)
		carol.NoCall(t, time.Second) // one target counts
		require.Zero(t, s.Stats().Transactions.ServersTotal+s.Stats().Transactions.ClientsTotal)
		require.Zero(t, s.Stats().Requests)
	})
}

// §16.11: the branch is a function of the request: the same for copies, the CANCEL and the ACK of a refusal, another for others. RFC 2543
// requests have no branch to make it of.
func TestStatelessBranch(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"gw.example": {"192.0.2.20", "192.0.2.30", "192.0.2.40"}}})
		stateless(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			return r.Forward(ctx, at(k, r, "gw.example:5060"))
		})
		alice := k.Phone("alice", "192.0.2.10")
		for _, ip := range []string{"192.0.2.20", "192.0.2.30", "192.0.2.40"} {
			k.Phone("p"+ip, ip).Raw()
		}
		var mu sync.Mutex
		var got []*sip.Request
		var ips []string
		k.Network.Tap(func(p siptest.Packet) {
			mu.Lock()
			defer mu.Unlock()
			if p.From.Addr().String() == "192.0.2.101" && p.To.Port() == 5060 && p.Lost == "" {
				got, ips = append(got, request(t, string(p.Data))), append(ips, p.To.Addr().String())
			}
		})
		send := func(m, via, id string) (string, string) {
			alice.Send(raw(k, m, "sip:b@example.com", "Via", via, "Call-ID", id))
			k.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			require.NotEmpty(t, got)
			last := got[len(got)-1]
			require.Equal(t, m, string(last.Method))
			return last.Branch(), ips[len(ips)-1]
		}
		proto := strings.ToUpper(k.Proto.String())
		seen, used := map[string]bool{}, map[string]bool{}
		for _, old := range []bool{false, true} {
			for _, id := range []string{"c1", "c2", "c3", "c4", "c5", "c6"} {
				via := "SIP/2.0/" + proto + " 192.0.2.10:5060"
				if !old {
					via += ";branch=z9hG4bK" + id
				} else {
					id += "old"
				}
				branch, ip := send("INVITE", via, id)
				require.True(t, strings.HasPrefix(branch, sip.MagicCookie))
				require.False(t, seen[branch])
				seen[branch], used[ip] = true, true
				for _, m := range []string{"INVITE", "CANCEL", "ACK"} {
					b, where := send(m, via, id)
					require.Equal(t, branch, b, "%s old=%v", m, old)
					require.Equal(t, ip, where)
				}
			}
		}
		require.Greater(t, len(used), 1, "requests spread over the addresses")
	})
}

// §16.11, contract 12: responses travel back by Via when the branch in ours was made here for that Via; others are dropped and counted.
func TestStatelessResponses(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := stateless(t, k, forks(k, "192.0.2.20"))
		alice, bob, mallory := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20"), k.Phone("mallory", "192.0.2.66")
		bob.Raw()
		mallory.Raw()
		alice.Send(raw(k, "INVITE", "sip:b@example.com"))
		res := sip.NewResponse(request(t, bob.Receive()), 180, "", "b")
		for _, code := range []int{100, 180, 183, 200} {
			res.Code = code
			bob.Send(res.String())
			require.Equal(t, code, response(t, alice.Receive()).Code)
		}
		bad := map[string]func(text string) string{
			"another hop":  func(x string) string { return strings.Replace(x, "192.0.2.10:", "192.0.2.66:", 1) },
			"another call": func(x string) string { return strings.Replace(x, "Call-ID: ", "Call-ID: x", 1) },
			"forged MAC":   func(x string) string { return strings.Replace(x, "z9hG4bKs", "z9hG4bKsf", 1) },
			"stateful":     func(x string) string { return strings.Replace(x, "z9hG4bKs", "z9hG4bK", 1) },
			"no Via above": func(x string) string {
				r := response(t, x)
				top, _ := r.Via()
				r.Del("Via")
				r.PushVia(top)
				return r.String()
			},
		}
		n := uint64(0)
		for name, f := range bad {
			n++
			bob.Send(f(res.String()))
			alice.Silence(time.Second)
			mallory.Silence(time.Second)
			require.Equal(t, n, s.Stats().StrayResponses, name)
		}
	})
}

// §16.11 with §16.3: a proxy without state refuses what it cannot forward, with one answer and the same To tag for copies; not an ACK.
func TestStatelessRefusals(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := stateless(t, k, func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			switch r.URI.User {
			case "none":
				return r.Forward(ctx, at(k, r, "nowhere.example"))
			case "reply":
				return r.Reply(302)
			case "silent":
				return sipproxy.NoReply
			}
			return r.Forward(ctx)
		})
		alice := k.Phone("alice", "192.0.2.10")
		for uri, code := range map[string]int{"sip:none@example.com": 500, "sip:reply@example.com": 302, "foo:bar": 416} {
			text := raw(k, "OPTIONS", uri)
			alice.Send(text)
			one := response(t, alice.Receive())
			require.Equal(t, code, one.Code, uri)
			alice.Send(text)
			require.Equal(t, one.String(), alice.Receive())
			alice.Send(strings.ReplaceAll(text, "OPTIONS", "ACK"))
			alice.Silence(time.Second)
		}
		alice.Send(raw(k, "OPTIONS", "sip:silent@example.com"))
		alice.Silence(time.Minute)
		require.GreaterOrEqual(t, s.Stats().StatelessRefused, uint64(6))
	})
}

// Accept mixes modes: the scanner is dropped, the load balancer's part is stateless, the rest has state. A CANCEL goes by the INVITE's mode.
func TestAccept(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		s := k.Server(t, &sipproxy.Server{Handler: forks(k, "192.0.2.20"), Accept: func(r *sipproxy.Request) sipproxy.Mode {
			switch {
			case strings.HasPrefix(r.Get("User-Agent"), "friendly-scanner"):
				return sipproxy.Discard
			case r.URI.User == "lb":
				return sipproxy.Stateless
			}
			return sipproxy.Stateful
		}})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
		alice.Send(raw(k, "OPTIONS", "sip:100@example.com", "User-Agent", "friendly-scanner"))
		alice.Silence(time.Minute)
		require.EqualValues(t, 1, s.Stats().Discarded)
		bob.Ring()
		for _, user := range []string{"lb", "bob"} {
			call := alice.Invite(t, "sip:"+user+"@example.com")
			call.Expect(180)
			call.Cancel()
			call.Expect(487)
		}
		require.EqualValues(t, 1, s.Stats().Requests)
		require.EqualValues(t, 1, s.Stats().Canceled)
	})
}

// Two stateless proxies in a row, and a stateful one behind a stateless one, over a bad link.
func TestStatelessChainWithLoss(t *testing.T) {
	for seed := range uint64(6) {
		siptest.Suite{Protos: []transport.Proto{transport.UDP}, Seed: seed}.Run(t, func(t *testing.T, k *siptest.Kit) {
			k.Network.SetLink("", "", siptest.Link{Delay: 5 * time.Millisecond, Loss: 0.1, Duplicate: 0.2, Reorder: 0.1})
			stateless(t, k, forks(k, "192.0.2.102"))
			if seed%2 == 0 {
				stateless(t, k, forks(k, "192.0.2.20"))
			} else {
				serve(t, k, forks(k, "192.0.2.20"))
			}
			alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.20")
			for range 3 {
				good(t, alice, bob)
			}
			bob.Refuse(486)
			alice.Invite(t, "sip:bob@example.com").Expect(486)
		})
	}
}
