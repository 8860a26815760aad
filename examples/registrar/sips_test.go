package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// TestSIPSPhone is RFC 5630 §5.3: a phone with a sips contact gets sips requests as such, and sip requests as sip requests, all by TLS. One with a sip contact gets none of
// the first.
func TestSIPSPhone(t *testing.T) {
	addr := served(t, "-media", "never", "-numbers", file(t, "alias info bob\n"))
	phone, caller := wired(t, "tls", addr["tls"]), wired(t, "udp", addr["udp"])
	at := "bob@" + phone.conn.LocalAddr().String() + ";transport=tcp"
	bound := phone.ask(phone.request("REGISTER", "sips:example.com", "To: <sips:bob@example.com>", "Contact: <sips:"+at+">"))
	require.Equal(t, "<sips:"+at+">;expires=3600", bound.Get("Contact"))
	for _, user := range []string{"bob", "info"} {
		for _, scheme := range []string{"sip:", "sips:"} {
			text := caller.request("MESSAGE", scheme+user+"@example.com", "To: <"+scheme+user+"@example.com>")
			caller.send(text)
			req := phone.requested(sip.MESSAGE)
			require.Equal(t, scheme+at, req.URI.String())
			phone.reply(req, 200)
			require.Equal(t, 200, caller.final(text).Code)
		}
	}
	require.Equal(t, 200, phone.ask(phone.register("bill", "Contact: <sip:"+at+">")).Code)
	res := caller.ask(caller.request("MESSAGE", "sips:bill@example.com", "To: <sips:bill@example.com>"))
	require.Equal(t, 480, res.Code)
	require.Equal(t, `380 sipkit "SIPS Not Allowed"`, res.Get("Warning"))
}
