package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// served is the running program, with a socket of each transport.
func served(t *testing.T, args ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	cert, key := certificate(t, dir, "a")
	args = append([]string{"-listen", "udp:127.0.0.1:0", "-listen", "tcp:127.0.0.1:0", "-listen", "tls:127.0.0.1:0", "-cert", cert, "-key", key,
		"-domain", office, "-domain", "example.org", "-data", filepath.Join(dir, "data")}, args...)
	_, addr := start(t, args...)
	return map[string]string{"udp": addr[0], "tcp": addr[1], "tls": addr[2]}
}

// onEach runs f over each transport.
func onEach(t *testing.T, addr map[string]string, f func(w *wire)) {
	for _, proto := range []string{"udp", "tcp", "tls"} {
		t.Run(proto, func(t *testing.T) { f(wired(t, proto, addr[proto])) })
	}
}

// have are the contacts of a 200, in order, with what the registrar says of them.
func have(res *sip.Response) string {
	return strings.Join(slices.Collect(res.Values("Contact")), " ")
}

// TestRegisterOnTheWire asks the program what RFC 3261 §10.3 and those it leans on say of one REGISTER. Each has a user of his own ("@" in fields), whose contacts are
// asked for afterwards; none: he has none.
func TestRegisterOnTheWire(t *testing.T) {
	const one = "<sip:a@192.0.2.9:6000>"
	instance := `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
	for proto, addr := range served(t) {
		own := "sip:a@" + addr + ";transport=" + proto
		for name, x := range map[string]struct {
			fields []string
			code   int
			have   string
			answer string // a field of the answer, "Name: value"
		}{
			// §10.2, §10.3: contacts
			"one":                 {[]string{"Contact: " + one}, 200, one + ";expires=3600", ""},
			"compact":             {[]string{"m: " + one}, 200, one + ";expires=3600", ""},
			"no brackets":         {[]string{"Contact: sip:a@192.0.2.9:6000;expires=90"}, 200, one + ";expires=90", ""},
			"several in one":      {[]string{`Contact: "A, B" <sip:a@192.0.2.1>;q=0.5, <sip:b@192.0.2.2>;expires=90`}, 200, "<sip:a@192.0.2.1>;q=0.5;expires=3600 <sip:b@192.0.2.2>;expires=90", ""},
			"several fields":      {[]string{"Contact: <sip:a@192.0.2.1>", "+Contact: <sip:b@192.0.2.2>, <sip:c@192.0.2.3>;q=0.250"}, 200, "<sip:a@192.0.2.1>;expires=3600 <sip:b@192.0.2.2>;expires=3600 <sip:c@192.0.2.3>;q=0.25;expires=3600", ""},
			"twice the same":      {[]string{"Contact: <sip:a@192.0.2.1>;expires=100, <sip:%61@192.0.2.1>;expires=200"}, 200, "<sip:%61@192.0.2.1>;expires=200", ""},
			"added and removed":   {[]string{"Contact: <sip:a@192.0.2.1>, <sip:a@192.0.2.1>;expires=0"}, 200, "", ""},
			"quoted parameter":    {[]string{`Contact: ` + one + `;x="a;b,c\"d";expires=100`}, 200, one + `;x="a;b,c\"d";expires=100`, ""},
			"IPv6":                {[]string{"Contact: <sip:a@[2001:db8::1]:6000;transport=udp>"}, 200, "<sip:a@[2001:db8::1]:6000;transport=udp>;expires=3600", ""},
			"sips, tel and mail":  {[]string{"Contact: <sips:a@192.0.2.1>, <tel:+33123456789>, <mailto:a@example.net>"}, 200, "<sips:a@192.0.2.1>;expires=3600 <tel:+33123456789>;expires=3600 <mailto:a@example.net>;expires=3600", ""},
			"header in a contact": {[]string{"Contact: <sip:a@192.0.2.1?Subject=x>"}, 200, "<sip:a@192.0.2.1?Subject=x>;expires=3600", ""},
			"ten":                 {[]string{"Contact: " + contacts(10)}, 200, strings.ReplaceAll(contacts(10), ",", ";expires=3600 ") + ";expires=3600", ""},
			"eleven":              {[]string{"Contact: " + contacts(11)}, 403, "", ""},
			"a thousand":          {[]string{"Contact: " + contacts(1000)}, 403, "", ""},
			"too long":            {[]string{"Contact: <sip:" + strings.Repeat("a", 5000) + "@192.0.2.1>"}, 413, "", ""},
			"one of them bad":     {[]string{"Contact: " + one + ", <sip:>"}, 400, "", ""},
			"no URI":              {[]string{"Contact: <>"}, 400, "", ""},
			"half an IPv6":        {[]string{"Contact: <sip:a@[2001:db8::1>"}, 400, "", ""},
			"our own address":     {[]string{"Contact: <" + own + ">"}, 403, "", ""},
			"multicast":           {[]string{"Contact: <sip:a@224.0.1.75>"}, 403, "", ""},
			// q
			"q=1":      {[]string{"Contact: " + one + ";q=1.000"}, 200, one + ";expires=3600", ""},
			"q=0":      {[]string{"Contact: " + one + ";q=0"}, 200, one + ";q=0;expires=3600", ""},
			"q=1.001":  {[]string{"Contact: " + one + ";q=1.001"}, 400, "", ""},
			"q=-1":     {[]string{"Contact: " + one + ";q=-1"}, 400, "", ""},
			"q=":       {[]string{"Contact: " + one + ";q="}, 400, "", ""},
			"q=1e0":    {[]string{"Contact: " + one + ";q=1e0"}, 400, "", ""},
			"q twenty": {[]string{"Contact: " + one + ";q=0.12345678901234567890"}, 400, "", ""},
			// how long
			"parameter first":   {[]string{"Contact: " + one + ";expires=100", "Expires: 200"}, 200, one + ";expires=100", ""},
			"then the field":    {[]string{"Contact: " + one, "Expires: 200"}, 200, one + ";expires=200", ""},
			"too long for us":   {[]string{"Contact: " + one + ";expires=4294967295"}, 200, one + ";expires=86400", ""},
			"no number":         {[]string{"Contact: " + one + ";expires=soon"}, 200, one + ";expires=3600", ""},
			"beyond 2^32":       {[]string{"Contact: " + one + ";expires=4294967296"}, 200, one + ";expires=3600", ""},
			"too short":         {[]string{"Contact: " + one + ";expires=59"}, 423, "", "Min-Expires: 60"},
			"one too short":     {[]string{"Contact: <sip:b@192.0.2.2>, " + one + ";expires=1"}, 423, "", "Min-Expires: 60"},
			"short field":       {[]string{"Contact: " + one, "Expires: 5"}, 423, "", "Min-Expires: 60"},
			"removes nobody":    {[]string{"Contact: " + one + ";expires=0"}, 200, "", ""},
			"field no number":   {[]string{"Contact: " + one, "Expires: soon"}, 400, "", ""},
			"star":              {[]string{"Contact: *", "Expires: 0"}, 200, "", ""},
			"star, no expires":  {[]string{"Contact: *"}, 400, "", ""},
			"star for ever":     {[]string{"Contact: *", "Expires: 3600"}, 400, "", ""},
			"star with others":  {[]string{"Contact: *, " + one, "Expires: 0"}, 400, "", ""},
			"others with star":  {[]string{"Contact: " + one, "+Contact: *", "Expires: 0"}, 400, "", ""},
			"star in brackets":  {[]string{"Contact: <*>", "Expires: 0"}, 400, "", ""},
			"star with expires": {[]string{"Contact: *;expires=0", "Expires: 0"}, 400, "", ""},
			// step 2, and other extensions
			"Require":         {[]string{"Contact: " + one, "Require: foo, path", "+Require: bar"}, 420, "", "Unsupported: foo"},
			"Require known":   {[]string{"Contact: " + one, "Require: path, gruu"}, 200, one + ";expires=3600", ""},
			"Proxy-Require":   {[]string{"Contact: " + one, "Proxy-Require: foo"}, 200, one + ";expires=3600", ""},
			"reg-id=0":        {[]string{"Contact: " + one + instance + ";reg-id=0", "Supported: outbound"}, 400, "", ""},
			"reg-id=2^31":     {[]string{"Contact: " + one + instance + ";reg-id=2147483648", "Supported: outbound"}, 400, "", ""},
			"two flows":       {[]string{"Contact: " + one + instance + ";reg-id=1, <sip:b@192.0.2.2>" + instance + ";reg-id=2", "Supported: outbound"}, 400, "", ""},
			"first hop lacks": {[]string{"Contact: " + one + instance + ";reg-id=1", "Supported: outbound", "+Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx"}, 439, "", ""},
			"no Supported":    {[]string{"Contact: " + one + instance + ";reg-id=1"}, 200, one + instance + ";reg-id=1;expires=3600", ""},
			"Path":            {[]string{"Contact: " + one, "Supported: path", "Path: <sip:127.0.0.1:7000;lr;ob>"}, 200, one + ";expires=3600", "Path: <sip:127.0.0.1:7000;lr;ob>"},
			"Path elsewhere":  {[]string{"Contact: " + one, "Supported: path", "Path: <sip:192.0.2.66;lr>"}, 403, "", ""},
			"Path by maddr":   {[]string{"Contact: " + one, "Supported: path", "Path: <sip:127.0.0.1:7000;lr;maddr=192.0.2.66>"}, 403, "", ""},
			"maddr":           {[]string{"Contact: <sip:a@192.0.2.9:6000;maddr=224.0.1.75>"}, 403, "", ""},
			"Path no URI":     {[]string{"Contact: " + one, "Path: <tel:1>"}, 403, "", ""},
			// what makes no REGISTER
			"CSeq of INVITE":    {[]string{"Contact: " + one, "CSeq: 1 INVITE"}, 400, "", ""},
			"CSeq too high":     {[]string{"Contact: " + one, "CSeq: 2147483648 REGISTER"}, 400, "", ""},
			"no CSeq":           {[]string{"Contact: " + one, "-CSeq"}, 400, "", ""},
			"no To":             {[]string{"Contact: " + one, "-To"}, 400, "", ""},
			"no From":           {[]string{"Contact: " + one, "-From"}, 400, "", ""},
			"no Call-ID":        {[]string{"Contact: " + one, "-Call-ID"}, 400, "", ""},
			"two Call-IDs":      {[]string{"Contact: " + one, "+Call-ID: x"}, 400, "", ""},
			"no Max-Forwards":   {[]string{"Contact: " + one, "-Max-Forwards"}, 200, one + ";expires=3600", ""},
			"last hop":          {[]string{"Contact: " + one, "Max-Forwards: 0"}, 200, one + ";expires=3600", ""},
			"Max-Forwards: 256": {[]string{"Contact: " + one, "Max-Forwards: 256"}, 400, "", ""},
			"no colon":          {[]string{"Contact: " + one, "+Subject x"}, 400, "", ""},
			"in a dialog":       {[]string{"Contact: " + one, "To: <sip:@@example.com>;tag=x"}, 404, "", ""},
		} {
			t.Run(proto+"/"+name, func(t *testing.T) {
				w := wired(t, proto, addr)
				user := fmt.Sprintf("u%d", serial.Add(1))
				fields := slices.Clone(x.fields)
				for i := range fields {
					fields[i] = strings.ReplaceAll(fields[i], "@@", user+"@")
				}
				res := w.ask(w.register(user, fields...))
				require.Equal(t, x.code, res.Code, "%s", res)
				if n, v, ok := strings.Cut(x.answer, ": "); ok {
					require.Equal(t, v, res.Get(n))
				}
				if res.Code == 200 {
					require.Regexp(t, `GMT$`, res.Get("Date"))
				}
				require.True(t, res.ToTag() != "" || !res.Has("To"), "%s", res)
				w = wired(t, proto, addr)
				got := strings.ReplaceAll(have(w.ask(w.register(user))), ";expires=3599", ";expires=3600")
				require.Equal(t, x.have, withoutReceived(got))
			})
		}
	}
}

// contacts are n of them.
func contacts(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("<sip:a@192.0.2.1:%d>", 10000+i)
	}
	return strings.Join(list, ",")
}

// withoutReceived takes out where the REGISTER came from.
func withoutReceived(s string) string {
	for {
		before, rest, ok := strings.Cut(s, ";received=")
		if !ok {
			return s
		}
		_, after, _ := strings.Cut(rest[1:], `"`)
		s = before + after
	}
}

// TestWhoRegisters: the users and domains of §10.3 steps 1 and 5, and §19.1.4: escapes do not tell users apart, case and domain do.
func TestWhoRegisters(t *testing.T) {
	addr := served(t)
	onEach(t, addr, func(w *wire) {
		here := addr[w.proto]
		user := fmt.Sprint("Al", serial.Add(1))
		escaped := fmt.Sprintf("%%41l%s", user[2:])
		bound := w.ask(w.register(escaped, "Contact: <sip:x@192.0.2.1>"))
		require.Equal(w, 200, bound.Code)
		for _, x := range []struct {
			uri, to string
			code    int
			found   bool
		}{
			{"sip:example.com", user + "@example.com", 200, true},
			{"sip:EXAMPLE.com", user + "@Example.COM", 200, true},
			{"sip:example.com.", user + "@example.com.", 200, true},
			{"sip:example.com:5060", user + "@example.com:5060;transport=tcp", 200, true},
			{"sip:" + user + "@example.com", user + "@example.com", 200, true},
			{"sip:" + here + ";transport=" + w.proto, user + "@example.com", 200, true},
			{"sip:" + here + ";transport=" + w.proto, user + "@" + here, 200, true}, // our addresses are the first domain
			{"sip:example.com", strings.ToLower(user) + "@example.com", 200, false},
			{"sip:example.org", user + "@example.org", 200, false},
			{"sip:example.com", user + "@example.org", 404, false},
			{"sip:example.org", user + "@example.com", 404, false},
			{"sip:example.com", user + "@example.net", 404, false},
			{"sip:example.com", "example.com", 404, false},
			{"mailto:x@example.com", user + "@example.com", 416, false},
		} {
			res := w.ask(w.request("REGISTER", x.uri, "To: <sip:"+x.to+">"))
			require.Equal(w, x.code, res.Code, "%s to %s: %s", x.to, x.uri, res)
			require.Equal(w, x.found, res.Has("Contact"), "%s to %s: %s", x.to, x.uri, res)
		}
		res := w.ask(w.request("REGISTER", "sips:example.com", "To: <sips:"+user+"@example.com>"))
		require.True(w, res.Code == 200 && res.Has("Contact"), "sip and sips are one user: %s", res)
		require.Equal(w, 400, w.ask(w.request("REGISTER", "sip:example.com", "To: <tel:+33123>")).Code)
	})
}

// TestOrderOnTheWire is §10.3 step 7: Call-ID and CSeq of a binding, all or nothing.
func TestOrderOnTheWire(t *testing.T) {
	onEach(t, served(t), func(w *wire) {
		user := fmt.Sprint("u", serial.Add(1))
		step := 0
		next := func(callID string, cseq, code int, want string, fields ...string) {
			w.Helper()
			step++
			res := w.ask(w.register(user, append([]string{"Call-ID: " + user + callID, fmt.Sprint("CSeq: ", cseq, " REGISTER")}, fields...)...))
			require.Equal(w, code, res.Code, "step %d: %s", step, res)
			got := withoutReceived(have(w.ask(w.register(user))))
			for _, off := range []string{"99", "98"} {
				got = strings.ReplaceAll(got, "1"+off, "200")
			}
			require.Equal(w, want, got, "step %d", step)
		}
		const a, b, c = "<sip:a@192.0.2.1>", "<sip:b@192.0.2.2>", "<sip:c@192.0.2.3>"
		life := ";expires=200"
		next("1", 5, 200, a+life, "Contact: "+a+life)
		next("1", 4, 400, a+life, "Contact: "+a+";expires=300")
		next("1", 4, 400, a+life, "Contact: "+a+";expires=0")
		next("1", 5, 200, a+life, "Contact: "+a+";expires=0, "+b+life) // without transactions (no -users) the same number is a copy: the bindings as they are
		next("1", 4, 400, a+life, "Contact: *", "Expires: 0")
		next("1", 4, 200, a+life+" "+b+life, "Contact: "+b+life) // an older one of another contact
		next("2", 1, 200, a+life+" "+b+life, "Contact: "+a+life) // the phone was switched on again
		next("1", 9, 200, a+life+" "+b+life, "Contact: "+a+life) // no order between Call-IDs
		next("1", 10, 423, a+life+" "+b+life, "Contact: "+c+", "+a+";expires=1")
		next("1", 10, 200, c+life, "Contact: "+c+life+", "+a+";expires=0, "+b+";expires=0")
		next("3", 1, 200, "", "Contact: *", "Expires: 0")
	})
}

// TestViaOnTheWire: where answers go and what their Via says (§18.2.2, RFC 3581, RFC 6223), whatever the phone writes into its own.
func TestViaOnTheWire(t *testing.T) {
	addr := served(t)
	w := wired(t, "udp", addr["udp"])
	local := w.conn.LocalAddr().String()
	_, port, err := net.SplitHostPort(local)
	require.NoError(t, err)
	const b = ";branch=z9hG4bK"
	for i, x := range []struct{ via, want string }{ // "@": the branch
		{local + "@;rport", local + "@;rport=" + port + ";received=127.0.0.1"},
		{"192.168.1.2:7@;rport", "192.168.1.2:7@;rport=" + port + ";received=127.0.0.1"},
		{"phone.invalid@;rport", "phone.invalid@;rport=" + port + ";received=127.0.0.1"},
		{"phone.invalid:1@;rport=7;received=203.0.113.1", "phone.invalid:1@;rport=" + port + ";received=127.0.0.1"},
		{local + "@", local + "@"},
		{local, local}, // RFC 2543
		{"192.168.1.2:7", "192.168.1.2:7;received=127.0.0.1;rport=" + port}, // forced: the phone is not where it says
		{local + "@;rport;keep", local + "@;rport=" + port + ";keep=30;received=127.0.0.1"},
		{local + "@;keep=5", local + "@;keep=5"}, // not what RFC 6223 has clients write
	} {
		branch := fmt.Sprint(b, "via", i)
		res := w.ask(w.register("via", "Via: SIP/2.0/UDP "+strings.Replace(x.via, "@", branch, 1)))
		require.Equal(t, "SIP/2.0/UDP "+strings.Replace(x.want, "@", branch, 1), res.Get("Via"))
	}
	for _, proto := range []string{"tcp", "tls"} {
		w := wired(t, proto, addr[proto])
		w.send("\r\n\r\n") // RFC 5626 §3.5.1
		pong := make([]byte, 2)
		_, err := io.ReadFull(w.in, pong)
		require.NoError(t, err)
		require.Equal(t, "\r\n", string(pong))
		res := w.ask(w.register("via", "Via: SIP/2.0/"+strings.ToUpper(proto)+" 192.168.1.2"+b+"x;keep"))
		require.Contains(t, res.Get("Via"), ";keep=120")
	}
}

// TestRubbish: what is no SIP is dropped, and the next request is answered.
func TestRubbish(t *testing.T) {
	w := wired(t, "udp", served(t)["udp"])
	for _, text := range []string{"\x00\x00\x00\x00", "\r\n\r\n", "\r\n", "x", "SIP/2.0 200 OK\r\n\r\n", "REGISTER sip:example.com SIP/2.0\r\n\r\n", strings.Repeat("A", 60000),
		"REGISTER sip:example.com SIP/2.0\r\n" + strings.Repeat("A: b\r\n", 5000) + "\r\n", "\x16\x03\x01\x02", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\xff\xfe\xfd"} {
		w.send(text)
		require.Equal(w, 200, w.ask(w.register("next")).Code, "%.40q", text)
	}
}

// TestOutboundOnTheWire is RFC 5626 §6 with RFC 5627: a binding for each flow of an instance, a flow registered again takes the place of the old one, GRUUs for who asks.
func TestOutboundOnTheWire(t *testing.T) {
	onEach(t, served(t), func(w *wire) {
		user := fmt.Sprint("o", serial.Add(1))
		const instance = `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
		flow := func(supported, uri string, more string) *sip.Response {
			res := w.ask(w.register(user, "Supported: "+supported, "Contact: <sip:"+uri+"@192.168.1.2;transport="+w.proto+";ob>"+instance+more))
			require.Equal(w, 200, res.Code, "%s", res)
			return res
		}
		uris := func(res *sip.Response) (list []string) {
			for c, err := range res.Contacts() {
				require.NoError(w, err)
				list = append(list, c.URI.User)
			}
			return list
		}
		res := flow("path, outbound", "a", ";reg-id=1")
		require.Equal(w, "outbound", res.Get("Require"))
		require.NotContains(w, have(res), "gruu")
		require.Equal(w, []string{"a", "b"}, uris(flow("outbound", "b", ";reg-id=2")))
		require.Equal(w, []string{"a", "c"}, uris(flow("outbound", "c", ";reg-id=2")), "the same flow, whatever its URI")
		res = flow("outbound, gruu", "a", ";reg-id=1")
		require.Contains(w, have(res), `;pub-gruu="sip:`+user+`@example.com;gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"`)
		require.Contains(w, have(res), `;temp-gruu="sip:tgruu.`)
		require.Equal(w, []string{"c"}, uris(flow("outbound", "a", ";reg-id=1;expires=0")))
		for uri, code := range map[string]int{
			user + "@example.com;gr=urn:uuid:00000000-0000-1000-8000-000000000000": 480, // RFC 5627 §5.3: known user, no such device now
			"nobody@example.com;gr=urn:uuid:1":                                     480,
			"tgruu.AAAA@example.com;gr":                                            404,
			"nobody@example.com":                                                   404,
		} {
			require.Equal(w, code, w.ask(w.request("MESSAGE", "sip:"+uri, "To: <sip:x@example.com>")).Code, uri)
		}
	})
}
