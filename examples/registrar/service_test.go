package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// Phones learn from the 200 to REGISTER by which way to send calls (RFC 3608), and those with outbound how often to keep it open (RFC 5626).
// A call that takes the way arrives.
func TestServiceRouteAndFlowTimer(t *testing.T) {
	args := append(listening(t, "tcp", "127.0.0.1:0"), "-store", "memory")
	_, plain := start(t, args...)
	w := wired(t, "tcp", plain[0])
	outbound := []string{"Supported: outbound, path",
		`Contact: <sip:alice@192.168.7.7:5060;transport=tcp;ob>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-00000000000a>"`}
	res := w.ask(w.register("alice", outbound...))
	require.Equal(t, 200, res.Code)
	require.Empty(t, res.Get("Service-Route")+res.Get("Flow-Timer"))

	_, addr := start(t, append(args, "-service-route", "sip:"+plain[0]+";transport=tcp;lr", "-service-route", "<sip:orig@127.0.0.1:9;lr>", "-flow-timer", "2m")...)
	alice, bob := wired(t, "tcp", addr[0]), wired(t, "tcp", addr[0])
	res = alice.ask(alice.register("alice", outbound...))
	require.Equal(t, 200, res.Code)
	require.Equal(t, []string{"<sip:" + plain[0] + ";transport=tcp;lr>", "<sip:orig@127.0.0.1:9;lr>"}, slices.Collect(res.Values("Service-Route")))
	require.Equal(t, "120", res.Get("Flow-Timer"))
	res = bob.ask(bob.register("bob", "Contact: <sip:bob@192.168.7.7:5060;transport=tcp>"))
	require.Equal(t, 200, res.Code)
	require.Len(t, slices.Collect(res.Values("Service-Route")), 2)
	require.Empty(t, res.Get("Flow-Timer"), "for outbound only")

	invite := alice.request("INVITE", "sip:bob@example.com", "To: <sip:bob@example.com>", "Route: <sip:"+addr[0]+";transport=tcp;lr>",
		"Contact: <sip:alice@192.168.7.7:5060;transport=tcp;ob>")
	alice.send(invite)
	bob.reply(bob.requested(sip.INVITE), 200, "Contact: <sip:bob@192.168.7.7:5060;transport=tcp>")
	require.Equal(t, 200, alice.final(invite).Code)
}
