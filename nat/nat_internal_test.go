package nat

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

func TestPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"10.1.2.3": true, "172.15.0.1": false, "172.16.0.1": true, "172.31.255.255": true, "172.32.0.1": false, "192.168.0.1": true,
		"100.63.255.255": false, "100.64.0.1": true, "100.127.255.255": true, "100.128.0.0": false, "192.0.0.1": true, "192.0.1.1": false,
		"169.254.1.1": true, "203.0.113.1": false, "127.0.0.1": false, "fd00::1": true, "fc00::1": true, "fe80::1": true, "2001:db8::1": false,
		"::1": false, "::ffff:10.0.0.1": true,
	} {
		require.Equal(t, want, Private(netip.MustParseAddr(text)), text)
	}
}

func TestReasons(t *testing.T) {
	require.Equal(t, "none", Reasons(0).String())
	require.Equal(t, "contact private, via not source, source port, websocket", Usual.String())
	require.Equal(t, Reasons(19), ContactPrivate|ViaSource|SourcePort, "Kamailio's usual 19")
	require.Equal(t, Reasons(512), Destination)
}

func source(s string) transport.Addr {
	a, err := transport.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

func TestViaReasons(t *testing.T) {
	for _, x := range []struct {
		via, source string
		want        Reasons
	}{
		{"SIP/2.0/UDP 203.0.113.1:5060", "udp:203.0.113.1:5060", 0},
		{"SIP/2.0/UDP 203.0.113.1", "udp:203.0.113.1:5060", 0},
		{"SIP/2.0/UDP 203.0.113.1", "udp:203.0.113.1:1024", SourcePort},
		{"SIP/2.0/UDP 10.0.0.1:5060", "udp:203.0.113.1:1024", ViaSource | ViaPrivate | SourcePort},
		{"SIP/2.0/UDP 10.0.0.1:5060", "udp:10.0.0.1:5060", ViaPrivate},
		{"SIP/2.0/UDP phone.example.com", "udp:203.0.113.1:5060", ViaSource},
		{"SIP/2.0/UDP [fd00::1]:5060", "udp:[2001:db8::1]:5060", ViaSource | ViaPrivate},
		{"SIP/2.0/UDP [2001:DB8:0::1]", "udp:[2001:db8::1]:5060", 0},
		{"SIP/2.0/TLS 203.0.113.1", "tls:203.0.113.1:5061", 0},
	} {
		v, err := sip.ParseVia(x.via)
		require.NoError(t, err)
		from := source(x.source)
		require.Equal(t, x.want.String(), viaReasons(&v, new(place), &from).String(), "%s from %s", x.via, x.source)
	}
}

func TestContactReasons(t *testing.T) {
	at := netip.MustParseAddrPort("203.0.113.1:5060")
	for contact, want := range map[string]Reasons{
		"<sip:a@203.0.113.1>":               0,
		"sip:a@10.0.0.1":                    ContactPrivate,
		"<sip:a@[fe80::1]:5070>":            ContactPrivate | ContactPort,
		"<sip:a@203.0.113.1:5061>":          ContactPort,
		"<sips:a@203.0.113.1>":              ContactPort,
		"<sip:a@example.com>":               0,
		"*":                                 0,
		"<tel:+15551234>":                   0,
		"<sip:a@203.0.113.1>, sip:10.0.0.1": 0,
	} {
		r := sip.NewRequest(sip.INVITE, sip.MustParseURI("sip:b"))
		r.Add("Contact", contact)
		var c sip.NameAddr
		_, err := r.FirstContact(&c)
		require.NoError(t, err)
		require.Equal(t, want.String(), contactReasons(&c, new(place), at).String(), contact)
	}
}

func TestSDPReasons(t *testing.T) {
	at := netip.MustParseAddr("203.0.113.1")
	for body, want := range map[string]Reasons{
		"":                                  0,
		"v=0\r\nc=IN IP4 203.0.113.1\r\nm=": 0,
		"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 1\r\n":                              SDPPrivate | SDPSource,
		"v=0\nc=IN IP4 203.0.113.9\n":                                            SDPSource,
		"v=0\nm=audio 1\nc=IN IP4 203.0.113.9\n":                                 0,
		"v=0\nc=IN IP4 203.0.113.1\nm=audio 1\nc=IN IP4 10.0.0.1\n":              SDPPrivate,
		"v=0\nc=IN IP4 0.0.0.0\n":                                                0,
		"v=0\nc=IN IP6 fd00::1\n":                                                SDPPrivate | SDPSource,
		"--b\r\n\r\nv=0\nm=audio 1\nv=0\nc=IN IP4 10.0.0.1/127/2\r\n":            SDPPrivate | SDPSource,
		"c=IN IP4 \nc=IN IP4 x\nc=IN IP9 10.0.0.1\nc=IN IP\nc=IN IP4\t10.0.0.1":  0,
		"v=0\nc=IN IP4 203.0.113.1\nv=0\nm=audio 0\nc=IN IP4 192.168.0.9 \r\n\n": SDPPrivate,
	} {
		require.Equal(t, want.String(), sdpReasons(body, at).String(), body)
	}
}

func TestAlias(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.7~40000~1": "udp:203.0.113.7:40000", "203.0.113.7~40000~2": "tcp:203.0.113.7:40000", "1.2.3.4~1~6": "wss:1.2.3.4:1",
		"[2001:db8::1]~5060~3": "tls:[2001:db8::1]:5060", "2001:db8::1~5060~5": "ws:[2001:db8::1]:5060",
		"": "", "1.2.3.4": "", "1.2.3.4~5060": "", "1.2.3.4~5060~0": "", "1.2.3.4~5060~7": "", "1.2.3.4~0~1": "", "1.2.3.4~65536~1": "",
		"host~5060~1": "", "1.2.3.4~5060~1~2": "", "[1.2.3.4]~5060~1": "", "fe80::1%eth0~5060~1": "", "1.2.3.4~+1~1": "",
	} {
		at, ok := parseAlias(text)
		require.Equal(t, want != "", ok, text)
		if ok {
			require.Equal(t, want, at.String(), text)
			again, ok := parseAlias(aliasValue(at))
			require.True(t, ok)
			require.Equal(t, at, again)
		}
	}
	// The form that Kamailio's add_contact_alias writes (media-and-nat.md 5.2).
	u := addAlias(sip.MustParseURI("sip:a@1.2.3.4:5099;line=x"), "alias", aliasValue(source("udp:127.0.0.1:15060")), "")
	require.Equal(t, "sip:a@1.2.3.4:5099;alias=127.0.0.1~15060~1;line=x", u.String())
	rest, at, _, _, ok := cutAlias(u, "alias")
	require.True(t, ok)
	require.Equal(t, "udp:127.0.0.1:15060", at.String())
	require.Equal(t, "sip:a@1.2.3.4:5099;line=x", rest.String())
	bad := sip.MustParseURI("sip:a@1.2.3.4;alias=1.2.3.4~5060")
	rest, _, _, _, ok = cutAlias(bad, "alias")
	require.False(t, ok)
	require.Equal(t, bad, rest, "a malformed alias leaves the URI as it is")
}

func TestUnpack(t *testing.T) {
	for _, text := range []string{"", "01", "0101020304", "81c0000201"} {
		b, err := hex.DecodeString(text)
		require.NoError(t, err)
		_, _, err = unpack(b)
		require.ErrorIs(t, err, ErrForged)
	}
}

// TestSTUN has the sample request of RFC 5769 §2.1 without its credentials' meaning, answers of RFC 5389, and what is no STUN.
func TestSTUN(t *testing.T) {
	from := netip.MustParseAddrPort("192.0.2.1:32853")
	const id = "b7e7a701bc34d686fa87dfae"
	for _, x := range []struct{ name, in, want string }{
		// RFC 5769 §2.2 gives the XOR-MAPPED-ADDRESS of 192.0.2.1:32853.
		{"binding", "00010000" + "2112a442" + id, "0101000c" + "2112a442" + id + "00200008" + "0001a147e112a643"},
		{"RFC 3489", "00010000" + "01020304" + id, "0101000c" + "01020304" + id + "00010008" + "0001" + "8055" + "c0000201"},
		{"indication", "00110000" + "2112a442" + id, ""},
		{"unknown optional attribute", "00010008" + "2112a442" + id + "80220003" + "61626300", "0101000c" + "2112a442" + id + "00200008" + "0001a147e112a643"},
		{"unknown attribute", "00010008" + "2112a442" + id + "00240004" + "00000001", "01110024" + "2112a442" + id +
			"00090015" + "00000414" + hex.EncodeToString([]byte("Unknown Attribute")) + "000000" + "000a0002" + "00240000"},
		{"change request", "00010008" + "2112a442" + id + "00030004" + "00000006", "01110024" + "2112a442" + id +
			"00090015" + "00000414" + hex.EncodeToString([]byte("Unknown Attribute")) + "000000" + "000a0002" + "00030000"},
		{"unknown attribute behind MESSAGE-INTEGRITY", "00010020" + "2112a442" + id + "00080014" + strings.Repeat("00", 20) + "00240004" + "00000001", "0101000c" + "2112a442" + id +
			"00200008" + "0001a147e112a643"},
		{"a response", "01010000" + "2112a442" + id, "no"},
		{"short", "0001000021", "no"},
		{"wrong length", "00010004" + "2112a442" + id, "no"},
		{"attribute too long", "00010004" + "2112a442" + id + "80220004", "no"},
		{"wrong fingerprint", "00010008" + "2112a442" + id + "80280004" + "00000000", "no"},
	} {
		t.Run(x.name, func(t *testing.T) {
			in, err := hex.DecodeString(x.in)
			require.NoError(t, err)
			got, ok := stunAnswer(nil, in, from)
			require.Equal(t, x.want != "no", ok)
			if ok {
				require.Equal(t, x.want, hex.EncodeToString(got))
			}
		})
	}
}

func TestSTUNFingerprint(t *testing.T) {
	in, err := hex.DecodeString("00010000" + "2112a442" + "b7e7a701bc34d686fa87dfae")
	require.NoError(t, err)
	in = fingerprint(in)
	got, ok := stunAnswer(nil, in, netip.MustParseAddrPort("[2001:db8:1234:5678:11:2233:4455:6677]:32853"))
	require.True(t, ok)
	// The address of RFC 5769 §2.3.
	require.Equal(t, "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9", hex.EncodeToString(got[20:44]))
	q := stunRequest{}
	require.True(t, q.read(got), "our own fingerprint is right")
	require.True(t, q.fingerprint)
	require.Equal(t, len(got)-20, int(got[3]))
	got[30] ^= 1
	require.False(t, q.read(got))
}
