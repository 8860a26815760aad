package interop

import "testing"

// Phones on one machine, without NAT, each transport.
func TestPhonesCall(t *testing.T) {
	t.Parallel()
	need(t, "baresip")
	for _, c := range []struct {
		name string
		phoneConfig
	}{
		{"udp", phoneConfig{transport: "udp"}},
		{"tcp", phoneConfig{transport: "tcp"}},
		{"tls", phoneConfig{transport: "tls"}},
		{"outbound", phoneConfig{transport: "tcp", outbound: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := openOffice(t, "", loopback(), "-media", "never")
			a, b := pair(o, c.phoneConfig)
			a.call(b)
			talk(a, b)
			a.hangup(b)
			b.call(a)
			talk(a, b)
			a.hangup(b) // the callee
		})
	}
}

// pair starts two phones on this machine.
func pair(o *office, c phoneConfig) (alice, bob *phone) {
	o.t.Helper()
	a, b := c, c
	a.user, a.hertz, a.addr = "alice", 440, "127.0.0.1"
	b.user, b.hertz, b.addr = "bob", 1000, "127.0.0.1"
	return o.phone(a), o.phone(b)
}
