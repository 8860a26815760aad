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
		args []string
	}{
		{"udp", phoneConfig{transport: "udp"}, nil},
		{"tcp", phoneConfig{transport: "tcp"}, nil},
		{"tls", phoneConfig{transport: "tls"}, nil},
		{"outbound-udp", phoneConfig{transport: "udp", outbound: true}, nil},
		{"outbound-tcp", phoneConfig{transport: "tcp", outbound: true}, nil},
		{"outbound-tls", phoneConfig{transport: "tls", outbound: true}, nil},
		{"alias-udp", phoneConfig{transport: "udp"}, []string{"-contact-alias"}},
		{"alias-tls", phoneConfig{transport: "tls"}, []string{"-contact-alias"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newInternet(t)
			o := openOffice(t, n.server, serverAddr, c.args...)
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
