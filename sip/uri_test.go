package sip

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseURI(t *testing.T) {
	for s, want := range map[string]URI{
		"sip:example.com":                       {Scheme: "sip", Host: "example.com"},
		"SIPS:a%20b:pw@[2001:db8::1]:5061;lr":   {Scheme: "SIPS", User: "a%20b", Password: "pw", Host: "[2001:db8::1]", Port: 5061, Params: ";lr"},
		"sip:a;p=u%40x@h;x=\"?\"":               {}, // a quote must be escaped
		"sip:a;par=u%40example.net@example.com": {Scheme: "sip", User: "a;par=u%40example.net", Host: "example.com"},
		"sip:a?b@h?Route=%3Csip:x%3E&c=d":       {Scheme: "sip", User: "a?b", Host: "h", Headers: "Route=%3Csip:x%3E&c=d"},
		"sip:%00@h":                             {Scheme: "sip", User: "%00", Host: "h"},
		"sip:[2001:db8::10:5070]":               {Scheme: "sip", Host: "[2001:db8::10:5070]"},
		"tel:+1-201-555-0123;ext=7":             {Scheme: "tel", Opaque: "+1-201-555-0123;ext=7"},
		"urn:service:sos":                       {Scheme: "urn", Opaque: "service:sos"},
		"sip:*31#5@h":                           {Scheme: "sip", User: "*31#5", Host: "h"},
		"":                                      {},
		"sip":                                   {},
		"sip:":                                  {},
		":x":                                    {},
		"1sip:a":                                {},
		"tel:":                                  {},
		"sip:@h":                                {},
		"sip:a@":                                {},
		"sip:a@b@c":                             {},
		"sip:h:":                                {},
		"sip:h:0":                               {},
		"sip:h:65535":                           {Scheme: "sip", Host: "h", Port: 65535},
		"sip:h:65536":                           {},
		"sip:h:123456":                          {},
		"sip:h:5060x":                           {},
		"sip:2001:db8::10":                      {},
		"sip:[::1":                              {},
		"sip:[1.2.3.4]":                         {},
		"sip:[fe80::1%25eth0]":                  {},
		"sip:h?":                                {},
		"sip:a b@h":                             {},
		"<sip:a@h>":                             {},
		"sip:a\x00@h":                           {},
	} {
		u, err := ParseURI(s)
		if want.IsZero() {
			var p *ParseError
			require.ErrorAs(t, err, &p, s)
			require.LessOrEqual(t, p.Offset, len(s))
			continue
		}
		require.NoError(t, err, s)
		require.Equal(t, want, u, s)
		require.Equal(t, s, u.String())
	}
}

func TestURIEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		// the examples of §19.1.4
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},
		// beyond them
		{"sip:a@h", "sips:a@h", false},
		{"sip:a@h;user=phone", "sip:a@h", false},
		{"sip:a@h;ttl=1", "sip:a@h", false},
		{"sip:a@h;maddr=1.2.3.4", "sip:a@h", false},
		{"sip:a@h;method=INVITE", "sip:a@h", false},
		{"sip:a%3Bb@h", "sip:a;b@h", false},
		{"sip:a%2db@h", "sip:a-b@h", true},
		{"sip:a:p@h", "sip:a@h", false},
		{"sip:a@h", "sip:h", false},
		{"sip:%00@h", "sip:%00%00@h", false},
		{"sip:[2001:db8::1]", "sip:[2001:DB8:0::1]", true},
		{"sip:[2001:db8::1]", "sip:[2001:db8::2]", false},
		{"sip:a@h;l%72", "sip:a@h;lr", true},
		{"tel:+1-201-555-0123", "TEL:+1(201)5550123", true},
		{"tel:+12015550123", "tel:12015550123", false},
		{"tel:7042;phone-context=example.com", "tel:70.42;PHONE-CONTEXT=EXAMPLE.com", true},
		{"tel:7042;phone-context=+1-2", "tel:7042;phone-context=+12", true},
		{"tel:7042;phone-context=a.com", "tel:7042", false},
		{"tel:+1;ext=1-2;x=y", "tel:+1;x=y;ext=12", true},
		{"tel:+1;ext=12", "tel:+1;ext=13", false},
		{"urn:service:sos", "urn:service:sos", true},
		{"urn:service:sos", "urn:service:SOS", false},
	} {
		a, b := MustParseURI(c.a), MustParseURI(c.b)
		require.Equal(t, c.want, a.Equal(b), "%s %s", c.a, c.b)
		require.Equal(t, c.want, b.Equal(a), "%s %s", c.b, c.a)
	}
}

func TestURIWith(t *testing.T) {
	u := MustParseURI("sip:bob@example.com:5070;transport=TCP;lr?a=b")
	for hostport, want := range map[string]string{
		"gw":                 "sip:bob@gw;transport=TCP;lr?a=b",
		"192.0.2.1:5071":     "sip:bob@192.0.2.1:5071;transport=TCP;lr?a=b",
		"[2001:db8::1]:5060": "sip:bob@[2001:db8::1]:5060;transport=TCP;lr?a=b",
		"2001:db8::1":        "sip:bob@[2001:db8::1];transport=TCP;lr?a=b",
		"[::1]":              "sip:bob@[::1];transport=TCP;lr?a=b",
	} {
		require.Equal(t, want, u.WithHostPort(hostport).String())
	}
	far := MustParseURI("sip:bob@example.com;x=1;MADDR=192.0.2.9;transport=udp")
	require.Equal(t, "sip:bob@gw;x=1;transport=udp", far.WithHostPort("gw").String()) // §19.1.1: it would override the host
	require.Equal(t, "tcp", u.Transport())
	require.Equal(t, "example.com:5070", u.HostPort())
	require.Equal(t, "sip:a%40b%20%25@example.com:5070;Transport=udp;lr;x=1;y?a=b",
		u.WithUser("a@b %").WithParam("Transport", "udp").WithParam("x", "1").WithParam("y", "").String())
	require.Equal(t, "sip:bob@example.com:5070;lr?a=b", u.WithoutParam("TRANSPORT").String())
	require.Equal(t, "sip:bob@example.com:5070;transport=TCP;lr?a=b", u.String())
	ip, ok := MustParseURI("sip:[2001:db8::1]").IP()
	require.True(t, ok)
	require.Equal(t, "2001:db8::1", ip.String())
	_, ok = MustParseURI("sip:1.example").IP()
	require.False(t, ok)
	_, ok = u.IP()
	require.False(t, ok)
	require.Equal(t, "a\x00é%zz%", Unescape("a%00%c3%A9%zz%"))
}

func TestParams(t *testing.T) {
	p := Params(` ; lr;a = "x;\"=" ;B=2;b=3;c="`)
	var got []string
	for n, v := range p.All() {
		got = append(got, n+"|"+v)
	}
	require.Equal(t, []string{"lr|", `a|"x;\"="`, "B|2", "b|3", `c|"`}, got)
	v, ok := p.Get("A")
	require.True(t, ok)
	require.Equal(t, `"x;\"="`, v)
	v, ok = p.Get("LR")
	require.True(t, ok)
	require.Empty(t, v)
	require.False(t, p.Has("d"))
	require.Equal(t, Params(";a=1;c;d=4"), Params(";a=1;b=2;c;d=4").Without("B"))
	require.Equal(t, Params(";a;b=3;c"), Params(";a;B=2;c").With("b", "3"))
	require.Equal(t, Params(";a"), Params("").With("a", ""))
}

func TestParseVia(t *testing.T) {
	for s, want := range map[string]Via{
		"SIP/2.0/UDP h": {"SIP/2.0", "UDP", "h", 0, ""},
		"SIP  / 2.0\r\n / TLS  [::1] : 5061 ; branch = x ;rport": {"SIP/2.0", "TLS", "[::1]", 5061, "; branch = x ;rport"},
		"SIP/3.0/X 1.2.3.4:1;branch":                             {"SIP/3.0", "X", "1.2.3.4", 1, ";branch"},
		`SIP/2.0/UDP h;a="b;c"`:                                  {"SIP/2.0", "UDP", "h", 0, `;a="b;c"`},
		"":                                                       {},
		"SIP/2.0/UDP":                                            {},
		"SIP/2.0/UDP ":                                           {},
		"SIP/2.0 h":                                              {},
		"SIP/2.0/UDP h;":                                         {},
		"SIP/2.0/UDP h;;a":                                       {},
		`SIP/2.0/UDP h;a="`:                                      {},
		"SIP/2.0/UDP h:0":                                        {},
		"SIP/2.0/UDP h x":                                        {},
		"SIP/2.0/UDP [::1":                                       {},
		";":                                                      {},
	} {
		v, err := ParseVia(s)
		require.Equal(t, want, v, s)
		require.Equal(t, want == Via{}, err != nil, s)
	}
	v, _ := ParseVia("SIP/2.0/UDP h:5;Branch=q")
	require.Equal(t, "q", v.Branch())
	require.Equal(t, "h:5", v.HostPort())
}

func TestParseNameAddr(t *testing.T) {
	uri := MustParseURI("sip:a@b;x")
	for s, want := range map[string]NameAddr{
		"sip:a@b ;tag=1 ":                      {URI: MustParseURI("sip:a@b"), Params: ";tag=1"},
		"<sip:a@b;x>;tag=1":                    {URI: uri, Params: ";tag=1"},
		"A B  <sip:a@b;x>":                     {Display: "A B", URI: uri},
		`"A \"B\", <c>"<sip:a@b;x> ;q="<,>"`:   {Display: `A "B", <c>`, URI: uri, Params: `;q="<,>"`},
		"sip:a@b;q=<x>":                        {URI: MustParseURI("sip:a@b"), Params: ";q=<x>"},
		"\"\"\r\n <sip:a@b;x>":                 {URI: uri},
		"*":                                    {Star: true},
		"Jos\u00e9 <tel:+1>":                   {Display: "Jos\u00e9", URI: URI{Scheme: "tel", Opaque: "+1"}},
		"<sip:u,v@b>":                          {URI: MustParseURI("sip:u,v@b")},
		"":                                     {},
		"<>":                                   {},
		"<sip:a@b":                             {},
		"\"x <sip:a@b>":                        {},
		"\"x\" sip:a@b":                        {},
		"a, b <sip:a@b>":                       {},
		"<sip:a@b>x":                           {},
		"<sip:a@b>,<sip:c@d>":                  {},
		"sip:a@b?c=d":                          {},
		"< sip:a@b >":                          {},
		"sip:a@b, sip:c@d":                     {},
		"Bell, Alexander <sip:bell@example.c>": {},
	} {
		n, err := ParseNameAddr(s)
		require.Equal(t, want, n, s)
		require.Equal(t, want == NameAddr{}, err != nil, s)
	}
	n := NameAddr{Display: "a\"\\\r\nb", URI: uri, Params: ";tag=q"}
	require.Equal(t, `"a\"\\  b" <sip:a@b;x>;tag=q`, n.String())
	require.Equal(t, "q", n.Tag())
	require.Equal(t, "*", NameAddr{Star: true}.String())
}
