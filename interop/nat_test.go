package interop

import (
	"testing"
)

// Two phones, each behind a NAT of its own, with the same private address, on every transport.
func TestPhonesBehindNAT(t *testing.T) {
	t.Parallel()
	need(t, "baresip", "ip", "nft")
	for _, c := range []struct {
		name string
		phoneConfig
	}{
		{"udp", phoneConfig{transport: "udp"}},
		{"tcp", phoneConfig{transport: "tcp"}},
		{"tls", phoneConfig{transport: "tls"}},
		{"outbound-udp", phoneConfig{transport: "udp", outbound: true}},
		{"outbound-tcp", phoneConfig{transport: "tcp", outbound: true}},
		{"outbound-tls", phoneConfig{transport: "tls", outbound: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newInternet(t)
			o := openOffice(t, n.server, serverAddr)
			a, b := n.pair(o, c.phoneConfig)
			a.call(b)
			talk(a, b)
			a.hangup(b)
			b.call(a)
			talk(a, b)
			a.hangup(b)
			if c.name == "udp" {
				checkNAT(t, o)
			}
		})
	}
}

// pair starts a phone in each home.
func (n *internet) pair(o *office, c phoneConfig) (alice, bob *phone) {
	o.t.Helper()
	a, b := c, c
	a.user, a.hertz, a.addr, a.ns = "alice", 440, homeAddr, n.homes[0]
	b.user, b.hertz, b.addr, b.ns = "bob", 1000, homeAddr, n.homes[1]
	return o.phone(a), o.phone(b)
}
