package siptest_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// failover is the handler under test in the package's documentation.
func failover(ctx context.Context, r *sipproxy.Request) *sip.Response {
	if r.InDialog() {
		return r.Forward(ctx)
	}
	res := r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.11:5060")})
	if res.Is(408, 500, 503) {
		res = r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort("192.0.2.12:5060")})
	}
	return res
}

// TestFailover is the snippet of doc.go.
func TestFailover(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(failover)})
		alice := k.Phone("alice", "192.0.2.1")
		first, second := k.Phone("first", "192.0.2.11"), k.Phone("second", "192.0.2.12")
		first.Refuse(500)
		second.AnswerAfter(10 * time.Second) // takes no time to wait for

		call := alice.Invite(t, "sip:+15551234@example.com")
		call.Expect(180)
		call.Expect(200)
		call.Ack()
		in := second.Incoming(t)
		in.ExpectAck()
		in.Bye()
		call.ExpectBye()
	})
}

func ExampleRun() {
	busy := sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(486) })

	// In a test file: func TestBusy(t *testing.T) { ... }
	_ = func(t *testing.T) {
		siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
			k.Server(t, &sipproxy.Server{Handler: busy})
			alice := k.Phone("alice", "192.0.2.1")
			alice.Invite(t, "sip:bob@example.com").Expect(486)
		})
	}
}

func ExampleNetwork() {
	n := &siptest.Network{Seed: 1}
	n.SetDNS(siptest.DNS{IP: map[string][]string{"gw.example.com": {"192.0.2.11"}}})
	n.SetLink("192.0.2.1", "", siptest.Link{Delay: 20 * time.Millisecond, Loss: 0.05})
	box := n.NAT(siptest.NAT{Public: "203.0.113.1", Symmetric: true})
	fmt.Println(n.Host("192.0.2.1"), box.Host("10.0.0.5"))
	// Output: 192.0.2.1 10.0.0.5
}

func ExampleLadder() {
	alice, bob := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("192.0.2.2:5060")
	l := &siptest.Ladder{Width: 28}
	l.Column("alice", "192.0.2.1")
	l.Column("bob", "192.0.2.2")
	l.Add(siptest.Arrow{Time: time.Unix(0, 0), From: alice, To: bob, Text: "OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\n\r\n"})
	l.Add(siptest.Arrow{Time: time.Unix(1, 0), From: bob, To: alice, Text: "SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n"})
	fmt.Print(l)
	// Output:
	//               alice                        bob
	//               192.0.2.1                    192.0.2.2
	//   1    0.000  │── OPTIONS sip:bob@192.0… ─>│
	//   2    1.000  │<── 200 OK (OPTIONS) ───────│
}
