package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// A phone registered by its connection (RFC 5626) is out of reach when the server was killed: 430 for requests in its calls, 480 for new ones, no attempt to connect to it. When it has
// connected and registered again, its old flow is forgotten.
func TestFlowsAfterKill(t *testing.T) {
	for _, proto := range []string{"tcp", "tls"} {
		t.Run(proto, func(t *testing.T) {
			data := t.TempDir()
			args := append(listening(t, proto, "127.0.0.1:0"), "-data", data)
			p, addr := start(t, args...)
			outbound := func(w *wire, user string) *sip.Response {
				return w.ask(w.register(user, "Supported: outbound, path",
					"Contact: <sip:"+user+"@192.168.7.7:5060;transport="+proto+";ob>;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-00000000000"+user[:1]+">\""))
			}
			call := func(alice, bob *wire) *sip.Response {
				invite := alice.request("INVITE", "sip:bob@example.com", "To: <sip:bob@example.com>", "Contact: <sip:alice@192.168.7.7:5060;transport="+proto+";ob>")
				alice.send(invite)
				bob.reply(bob.requested(sip.INVITE), 200, "Contact: <sip:bob@192.168.7.7:5060;transport="+proto+";ob>")
				res := alice.final(invite)
				require.Equal(t, 200, res.Code, "%s", res)
				return res
			}
			within := func(w *wire, method string, res *sip.Response) string {
				return w.request(method, "sip:bob@192.168.7.7:5060;transport="+proto+";ob", slices.Concat(routes(res),
					[]string{"From: " + res.Get("From"), "To: " + res.Get("To"), "Call-ID: " + res.CallID(), "CSeq: 2 " + method})...)
			}
			alice, bob := wired(t, proto, addr[0]), wired(t, proto, addr[0])
			require.Equal(t, "outbound", outbound(alice, "alice").Get("Require"))
			require.Equal(t, "outbound", outbound(bob, "bob").Get("Require"))
			res := call(alice, bob)
			info := within(alice, "INFO", res)
			alice.send(info)
			bob.reply(bob.requested(sip.INFO), 200)
			require.Equal(t, 200, alice.final(info).Code)

			p.kill()
			<-p.done
			args[1] = proto + ":" + addr[0]
			_, _ = start(t, args...)
			alice = wired(t, proto, addr[0])
			require.Equal(t, 200, outbound(alice, "alice").Code)
			require.Equal(t, 430, alice.ask(within(alice, "BYE", res)).Code)
			require.Equal(t, 480, alice.ask(alice.request("INVITE", "sip:bob@example.com", "To: <sip:bob@example.com>")).Code)

			bob = wired(t, proto, addr[0])
			again := outbound(bob, "bob")
			require.Len(t, slices.Collect(again.Values("Contact")), 1, "%s", again)
			call(alice, bob)
		})
	}
}
