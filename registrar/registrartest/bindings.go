package registrartest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// odd holds what careless engines trip over: NUL, quotes, line ends, UTF-8, bytes that are no UTF-8, format verbs.
const odd = "a\x00b\"'`\\\r\n\t%s{}[]();,=<>\u00e9\u4e16\U0001f4de\xff\xfe"

// plain is a usual binding of user, valid for an hour.
func plain(user string) registrar.Binding {
	return registrar.Binding{
		Contact:   sip.URI{Scheme: "sip", User: user, Host: "192.0.2.7", Port: 5062, Params: ";transport=udp"},
		Q:         0.5,
		Expires:   time.Now().Add(time.Hour),
		CallID:    "call-" + user,
		CSeq:      1,
		Received:  udp("198.51.100.4:18948"),
		Local:     udp("203.0.113.5:5060"),
		UserAgent: "phone/1.0",
		Updated:   time.Now(),
	}
}

func udp(s string) transport.Addr {
	return transport.Addr{Proto: transport.UDP, AddrPort: netip.MustParseAddrPort(s)}
}

// full has every field set, each text with odd octets.
func full() registrar.Binding {
	b := plain("full")
	b.Contact = sip.URI{Scheme: "sips", User: "u" + odd, Password: "p" + odd, Host: "[2001:db8::1]", Port: 65535,
		Params: sip.Params(";x=" + odd), Headers: "h=" + odd, Opaque: "o" + odd}
	b.Q = 0.001
	b.CallID = "c" + odd
	b.CSeq = 1<<32 - 1
	b.Path = []string{"<sip:p1;lr>" + odd, "", "<sip:p2;lr>"}
	b.Received = transport.Addr{Proto: transport.WSS, AddrPort: netip.MustParseAddrPort("[fe80::1%eth0]:1"), Name: "n" + odd}
	b.Local = transport.Addr{Proto: transport.TLS, AddrPort: netip.MustParseAddrPort("[::ffff:192.0.2.1]:65535")}
	b.Instance = "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>" + odd
	b.RegID = 7
	b.Methods = []sip.Method{sip.INVITE, "X-" + odd, sip.NOTIFY}
	b.UserAgent = odd
	b.Flags = 0xdeadbeef
	b.GRUU = true
	b.TempGRUUs = []string{"tgruu." + odd, "tgruu.2"}
	b.Params = sip.Params(`;+sip.instance="<x>";y=` + odd)
	return b
}

// big has fields far beyond what a phone sends.
func big() registrar.Binding {
	b := plain("big")
	b.UserAgent = strings.Repeat("x", 70_000)
	for range 300 {
		b.Path = append(b.Path, "<sip:"+strings.Repeat("p", 300)+";lr>")
	}
	return b
}

// equal compares bindings; times by the instant.
func equal(t testing.TB, want, got []registrar.Binding) {
	t.Helper()
	require.Equal(t, timeless(want), timeless(got))
	for i := range want {
		require.True(t, want[i].Expires.Equal(got[i].Expires), "Expires: want %v, got %v", want[i].Expires, got[i].Expires)
		require.True(t, want[i].Updated.Equal(got[i].Updated), "Updated: want %v, got %v", want[i].Updated, got[i].Updated)
	}
}

func timeless(bs []registrar.Binding) []registrar.Binding {
	out := append([]registrar.Binding{}, bs...)
	for i := range out {
		out[i].Expires, out[i].Updated = time.Time{}, time.Time{}
	}
	return out
}
