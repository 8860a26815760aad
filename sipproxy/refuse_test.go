package sipproxy_test

import (
	"context"
	"testing"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// TestRefuse: a hook keeps a branch, or one address of it, from being sent.
func TestRefuse(t *testing.T) {
	siptest.Run(t, func(t *testing.T, k *siptest.Kit) {
		k.Network.SetDNS(siptest.DNS{IP: map[string][]string{"two.example.com": {"192.0.2.20", "192.0.2.30"}}})
		k.Server(t, &sipproxy.Server{Handler: sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
			r.OnBranch(func(b *sipproxy.Branch) {
				if b.Request.URI.Host == "192.0.2.30" {
					b.Refuse(403)
				}
			})
			r.OnSend(func(b *sipproxy.Branch) {
				if b.Remote.AddrPort.Addr().String() == "192.0.2.20" {
					b.Refuse(488)
				}
			})
			return r.Forward(ctx)
		})})
		alice, bob := k.Phone("alice", "192.0.2.10"), k.Phone("bob", "192.0.2.30")
		for uri, code := range map[string]int{
			"sip:bob@192.0.2.30": 403, "sip:bob@192.0.2.20": 488, "sip:bob@two.example.com;transport=" + k.Proto.String(): 200,
		} {
			require.Equal(t, code, alice.Request(t, sip.OPTIONS, uri).Final().Code, uri)
		}
		require.Equal(t, sip.OPTIONS, bob.Received(t, sip.OPTIONS).Method)
	})
}

// TestForceRport: a phone behind a NAT that does not know rport is answered where it is.
func TestForceRport(t *testing.T) {
	siptest.Suite{Protos: []transport.Proto{transport.UDP}}.Run(t, func(t *testing.T, k *siptest.Kit) {
		for _, force := range []bool{false, true} {
			s := k.Server(t, &sipproxy.Server{ForceRport: force, Handler: sipproxy.HandlerFunc(
				func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(200) })})
			box := k.Network.NAT(siptest.NAT{Public: map[bool]string{false: "198.51.100.1", true: "198.51.100.2"}[force]})
			phone := k.PhoneAt(box.Host("10.0.0.1"), "phone")
			phone.Proxy = s.Addrs()[0].AddrPort.String()
			phone.Send("OPTIONS sip:example.com SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKold\nMax-Forwards: 70\n" +
				"From: <sip:a@example.com>;tag=1\nTo: <sip:example.com>\nCall-ID: old\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n")
			if force {
				require.Contains(t, phone.Receive(), "received=198.51.100.2")
			} else {
				phone.Silence(1e9)
			}
		}
	})
}
