package transport

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

func TestParseAddr(t *testing.T) {
	for in, want := range map[string]string{
		"udp:192.0.2.1:5070":    "udp:192.0.2.1:5070",
		"TLS:192.0.2.1":         "tls:192.0.2.1:5061",
		"192.0.2.1":             "udp:192.0.2.1:5060",
		"192.0.2.1:5080":        "udp:192.0.2.1:5080",
		"tcp:[2001:db8::1]":     "tcp:[2001:db8::1]:5060",
		"2001:db8::1":           "udp:[2001:db8::1]:5060",
		"wss:[2001:db8::1]:1":   "wss:[2001:db8::1]:1",
		"udp:::1":               "udp:[::1]:5060",
		"udp:[::ffff:1.2.3.4]":  "udp:1.2.3.4:5060",
		"":                      "",
		"udp:":                  "",
		"udp:name:5060":         "",
		"udp:192.0.2.1:":        "",
		"udp:192.0.2.1:65536":   "",
		"udp:192.0.2.1:-1":      "",
		"udp:192.0.2.1:5060:60": "",
		"quic:192.0.2.1:5060":   "",
	} {
		a, err := ParseAddr(in)
		require.Equal(t, want == "", err != nil, in)
		require.Equal(t, want, a.String(), in)
	}
}

func TestParseListen(t *testing.T) {
	for _, c := range []struct{ in, listen, advertised string }{
		{"udp:10.0.0.5:5060=203.0.113.5:5060", "udp:10.0.0.5:5060", "203.0.113.5:5060"},
		{"udp:0.0.0.0:5060", "udp:0.0.0.0:5060", ""},
		{"tls:[::]:5061=sip.example.com", "tls:[::]:5061", "sip.example.com"},
		{"tcp:10.0.0.5=[2001:db8::1]", "tcp:10.0.0.5:5060", "[2001:db8::1]"},
	} {
		a, adv, err := ParseListen(c.in)
		require.NoError(t, err)
		require.Equal(t, c.listen, a.String())
		require.Equal(t, c.advertised, adv)
	}
	for _, bad := range []string{"udp:10.0.0.5=", "udp:10.0.0.5=a b", "x", "udp:10.0.0.5=h:99999"} {
		_, _, err := ParseListen(bad)
		require.ErrorIs(t, err, errBadAddr, bad)
	}
}

func TestAdvertisedAndLocal(t *testing.T) {
	l, _ := layer(t, Config{}, "udp:127.0.0.1:0=proxy.example.com", "udp:127.0.0.2:0=203.0.113.5:5070", "tcp:127.0.0.3:0", "udp:0.0.0.0:0", "udp:[::1]:0")
	adv := l.Advertised()
	port := func(i int) uint16 { return l.Addrs()[i].AddrPort.Port() }
	require.Equal(t, "proxy.example.com:"+uitoa(port(0)), adv[0])
	require.Equal(t, "203.0.113.5:5070", adv[1])
	require.Equal(t, "127.0.0.3:"+uitoa(port(2)), adv[2])
	require.Equal(t, "[::1]:"+uitoa(port(4)), adv[4])
	for _, c := range []struct {
		host string
		port uint16
		p    Proto
		want bool
	}{
		{"127.0.0.1", port(0), UDP, true},
		{"127.0.0.1", port(0), 0, true},
		{"127.0.0.1", port(0), TCP, false},
		{"127.0.0.1", port(0), TLS, true}, // no listener speaks TLS: host and port count
		{"127.0.0.1", 1, UDP, false},
		{"127.0.0.1", 0, UDP, false}, // 5060 is not ours
		{"Proxy.Example.COM", port(0), UDP, true},
		{"proxy.example.com.", port(0), UDP, true},
		{"proxy.example.com", 0, UDP, false},
		{"203.0.113.5", 5070, UDP, true},
		{"203.0.113.5", port(1), UDP, false},
		{"127.0.0.77", port(3), UDP, true}, // the wildcard
		{"[::1]", port(4), UDP, true},
		{"::1", port(4), UDP, true},
		{"[::1]", port(3), UDP, false}, // IPv4 only
		{"", 5060, UDP, false},
		{"192.0.2.1", port(3), UDP, false},
	} {
		require.Equal(t, c.want, l.IsLocal(c.host, c.port, c.p), "%+v", c)
	}
	f, err := l.FlowTo(addr(t, "udp:127.0.0.9:5060"), Flow{})
	require.NoError(t, err)
	host, p := f.SentBy()
	require.Equal(t, "proxy.example.com", host)
	require.Equal(t, port(0), p)
	require.Zero(t, f.Listener())
	f, err = l.FlowTo(addr(t, "udp:127.0.0.9:5060"), Flow{end: &l.udp[1].end})
	require.NoError(t, err)
	require.Equal(t, 1, f.Listener(), "the listener of from")
}

func TestNoListenerOfTheFamily(t *testing.T) {
	l, _ := layer(t, Config{}, "udp:127.0.0.1:0")
	_, err := l.FlowTo(addr(t, "udp:[::1]:5060"), Flow{})
	require.ErrorIs(t, err, ErrNoAddress)
	_, err = l.FlowTo(addr(t, "sctp:127.0.0.1:5060"), Flow{})
	require.ErrorIs(t, err, ErrNotSupported)
	_, err = l.FlowTo(Addr{}, Flow{})
	require.Error(t, err)
}

func TestReceivedAndReplyFlow(t *testing.T) {
	l, r := layer(t, Config{}, "udp:127.0.0.1:0")
	peer := udpClient(t, "127.0.0.1:0")
	self := addr(t, "udp:"+peer.LocalAddr().String())
	port := uitoa(self.AddrPort.Port())
	for _, c := range []struct{ via, want, reply string }{
		{"127.0.0.1:" + port, "", "127.0.0.1:" + port},
		{"127.0.0.1", "", "127.0.0.1:5060"},
		{"127.0.0.1:5071;rport", ";rport=" + port + ";received=127.0.0.1", "127.0.0.1:" + port},
		{"10.9.8.7:5071", ";received=127.0.0.1", "127.0.0.1:5071"},
		{"h.example.com", ";received=127.0.0.1", "127.0.0.1:5060"},
		{"127.0.0.1;received=192.0.2.9", ";received=127.0.0.1", "127.0.0.1:5060"},
		{"127.0.0.1:5071;maddr=127.0.0.8", ";maddr=127.0.0.8", "127.0.0.8:5071"},
		{"127.0.0.1;maddr=name.example.com", ";maddr=name.example.com", "127.0.0.1:5060"},
	} {
		_, err := peer.WriteToUDPAddrPort([]byte(options("SIP/2.0/UDP "+c.via, 1)), l.Addrs()[0].AddrPort)
		require.NoError(t, err)
		in := r.next(t)
		v, err := in.request().Via()
		require.NoError(t, err)
		require.Equal(t, c.want, string(v.Params), c.via)
		require.Equal(t, c.reply, l.ReplyFlow(in.f, v).Remote().AddrPort.String(), c.via)
		stateless, err := l.ViaFlow(v, in.f)
		require.NoError(t, err)
		if c.reply != "127.0.0.1:5060" || c.via == "127.0.0.1" {
			require.Equal(t, c.reply, stateless.Remote().AddrPort.String(), c.via)
		}
	}
	require.Equal(t, Flow{}, l.ReplyFlow(Flow{}, sip.Via{}))
}

func TestIPv6SentByComparesAsAddress(t *testing.T) {
	l, r := layer(t, Config{}, "udp:[::1]:0")
	peer := udpClient(t, "[::1]:0")
	_, err := peer.WriteToUDPAddrPort([]byte(options("SIP/2.0/UDP [0:0:0:0:0:0:0:1]:5070;branch=z9hG4bK1", 1)), l.Addrs()[0].AddrPort)
	require.NoError(t, err)
	v, err := r.next(t).request().Via()
	require.NoError(t, err)
	require.Equal(t, ";branch=z9hG4bK1", string(v.Params))
}
