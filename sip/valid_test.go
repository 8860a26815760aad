package sip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const valid = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n" +
	"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContact: <sip:a@b>\r\nContent-Length: 0\r\n\r\n"

func TestValid(t *testing.T) {
	require.Nil(t, mustRequest(t, valid).Valid(Limits{}))
	for _, c := range []struct {
		from, to string
		code     int
		reason   string
	}{
		{"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", "", 400, "no Via"},
		{"From: <sip:a@b>;tag=1\r\n", "", 400, "no From"},
		{"To: <sip:a@b>\r\n", "", 400, "no To"},
		{"Call-ID: c\r\n", "", 400, "no Call-ID"},
		{"CSeq: 1 OPTIONS\r\n", "", 400, "no CSeq"},
		{"Max-Forwards: 70\r\n", "", 0, ""},
		{"Content-Length: 0\r\n", "", 0, ""},
		{";branch=z9hG4bK1", ";branch", 0, ""},
		{";branch=z9hG4bK1", "", 0, ""},
		{";tag=1", "", 0, ""},
		{"Call-ID: c", "Call-ID: c\r\ni: c", 400, "two Call-ID"},
		{"To: <sip:a@b>", "To: <sip:a@b>\r\nt: <sip:a@b>", 400, "two To"},
		{"Max-Forwards: 70", "Max-Forwards: 70\r\nmax-forwards: 70", 400, "two Max-Forwards"},
		{"Max-Forwards: 70", "Max-Forwards: 256", 400, "Max-Forwards"},
		{"Max-Forwards: 70", "Max-Forwards: x", 400, "Max-Forwards"},
		{"Max-Forwards: 70", "Max-Forwards: 0", 0, ""},
		{"Max-Forwards: 70", "Max-Forwards 70", 400, "no header field"},
		{"Max-Forwards: 70", ": 70", 400, "no header field"},
		{"Max-Forwards: 70", "Max Forwards: 70", 400, "no header field"},
		{"1 OPTIONS", "1 INVITE", 400, "not the method"},
		{"1 OPTIONS", "1 options", 400, "not the method"},
		{"1 OPTIONS", "2147483648 OPTIONS", 400, "2^31"},
		{"1 OPTIONS", "2147483647 OPTIONS", 0, ""},
		{"Call-ID: c", "Call-ID:", 400, "empty"},
		{"Call-ID: c", "Call-ID: c d", 400, "white space"},
		{"Content-Length: 0", "Content-Length: 1", 400, "larger"},
		{"Content-Length: 0", "Content-Length: 0\r\nl: 1", 400, "differ"},
		{"Content-Length: 0", "Content-Length: 0\r\nl: 0", 0, ""},
		{"Content-Length: 0", "Content-Length: -0", 400, "no number"},
		{"Content-Length: 0", "Content-Length: 0, 0", 400, "no number"},
		{"Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n", 400, "no empty line"},
		{"Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n\n", 400, "without CR"},
		{"Content-Length: 0\r\n", "Content-Length: 0\n", 400, "without CR"},
		{"Call-ID: c\r\n", "Call-ID: c\r\nX: a\n b\r\n", 400, "without CR"},
		{"SIP/2.0\r\n", "SIP/2.0\n", 400, "without CR"},
		{"sip:a@b SIP/2.0", "sip:a@b SIP/3.0", 505, "SIP/3.0"},
		{"sip:a@b SIP/2.0", "sip:a@b sip/2.0", 0, ""},
		{"sip:a@b SIP/2.0", "sip:a@b  SIP/2.0", 400, "white space"},
		{"sip:a@b SIP/2.0", "SIP/2.0", 400, "Request-URI"},
		{"sip:a@b SIP/2.0", "sip:a@b SIP/2.0\r\n X: y", 400, "folded"},
		{"sip:a@b SIP", "tel:+1 SIP", 0, ""},
		{"sip:a@b SIP", "sip:a@b?x=y SIP", 400, "headers"},
		{"sip:a@b SIP", "sip:" + strings.Repeat("a", 5000) + " SIP", 414, "4096"},
		{"sip:a@b SIP", "sip:" + strings.Repeat("a", 4092) + " SIP", 0, ""},
		{"sip:a@b SIP", "sip:" + strings.Repeat("a", 4093) + " SIP", 414, "4096"},
		{"From: <sip:a@b>", "From: \"x <sip:a@b>", 400, "quote"},
		{"From: <sip:a@b>", "From: <foo:bar>", 0, ""},
		{"From: <sip:a@b>", "From: <foo>", 400, "scheme"},
		{"From: <sip:a@b>", "From: sip:a@b", 0, ""},
		{"From: <sip:a@b>", "From: \"x\\\"\" <sip:a@b>", 0, ""},
		{"From: <sip:a@b>", "From: <sip:a@b:99999>", 400, "port"},
		{"From: <sip:a@b>", "From: <sip:@b>", 400, "user"},
		{"From: <sip:a@b>", "From: <sip:[::1]:5>", 0, ""},
		{";tag=1", ";;tag=1", 400, "parameter"},
		{"Contact: <sip:a@b>", "Contact: *", 0, ""},
		{"Contact: <sip:a@b>", "Contact:", 0, ""},
		{"Contact: <sip:a@b>", "Contact: <sip:a@b>,<sip:c", 400, "never closed"},
		{"Via: SIP/2.0/UDP h", "Via: SIP/2.0/UDP h,", 400, "Via"},
		{"Via: SIP/2.0/UDP h", "Via: SIP/2.0/UDP h:x", 400, "Via"},
		{"Via: SIP/2.0/UDP h", "Via: " + strings.Repeat("SIP/2.0/UDP h,", 70) + "SIP/2.0/UDP h", 513, "70 Vias"},
		{"Max-Forwards: 70", strings.Repeat("X: y\r\n", 300), 513, "256"},
		{"Max-Forwards: 70", strings.Repeat("X: y\r\n", 3000), 513, "256"},
		{"Max-Forwards: 70", "X: " + strings.Repeat("y", 33000), 513, "32768"},
		{"Max-Forwards: 70", "X: " + strings.Repeat("y", 70000), 513, "65535"},
		{"Max-Forwards: 70", strings.Repeat("y", 200000), 513, "65535"},
	} {
		t.Run(fmt.Sprintf("%.30q to %.30q", c.from, c.to), func(t *testing.T) {
			text := strings.Replace(valid, c.from, c.to, 1)
			require.NotEqual(t, valid, text)
			r := mustRequest(t, text)
			require.Equal(t, text, r.String())
			f := r.Valid(Limits{})
			if c.code == 0 {
				require.Nil(t, f)
				return
			}
			require.NotNil(t, f)
			require.Equal(t, c.code, f.Code, f.Reason)
			require.Contains(t, f.Reason, c.reason)
			require.Contains(t, f.Error(), f.Reason)
			res := NewResponse(r, f.Code, f.Reason, "t") // whatever has a start line can be answered
			require.Equal(t, len(res.String()), res.Len())
		})
	}
}

func TestValidResponse(t *testing.T) {
	good := strings.Replace(valid, "OPTIONS sip:a@b SIP/2.0", "SIP/2.0 200 OK", 1)
	for from, to := range map[string]string{
		"SIP/2.0 200 OK": "SIP/2.0 700 OK", "SIP/2.0 200": "SIP/2.0 99", "SIP/2.0": "SIP/2.1", "1 OPTIONS": "2147483648 OPTIONS",
		"Via:": "X:", "Call-ID: c": "Call-ID: c\r\nCall-ID: d",
	} {
		m, err := ParseString(strings.Replace(good, from, to, 1))
		require.NoError(t, err)
		require.NotNil(t, m.Valid(Limits{}), to)
	}
	m, err := ParseResponse(strings.Replace(good, "Max-Forwards: 70", "Max-Forwards: x", 1))
	require.NoError(t, err)
	require.Nil(t, m.Valid(Limits{}))
}

func TestNoMessage(t *testing.T) {
	for _, s := range []string{"", "\r\n\r\n", "\x00\x00\x00\x00", "hello", "SIP/2.0", "SIP/2.0 ", "SIP/2.0 x OK", "SIP/2.0 200OK", " SIP/2.0", "IN VITE",
		"GET / HTTP/1.1\r\n\r\n", "a\x01b sip:a SIP/2.0\r\n\r\n"} {
		m, err := ParseString(s)
		require.Nil(t, m, "%q", s)
		var p *ParseError
		require.ErrorAs(t, err, &p, s)
		require.NotEmpty(t, p.Error())
	}
	_, err := ParseRequest("SIP/2.0 200 OK\r\n\r\n")
	require.Error(t, err)
	_, err = ParseResponse(valid)
	require.Error(t, err)
}
