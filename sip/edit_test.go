package sip

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func lines(s ...string) string { return strings.Join(s, "\r\n") + "\r\n" }

var invite = lines(
	"INVITE sip:bob@example.com SIP/2.0",
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKb",
	"v: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKc",
	"Max-Forwards: 70",
	"Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>",
	"f: \"A, B\" <sip:alice@example.com;tag=no>;tag=88",
	"t: <sip:bob@example.com>",
	"i: abc@192.0.2.1",
	"CSeq: 1 INVITE",
	"X-Odd :  kept",
	"Contact: <sip:alice@192.0.2.1>",
	"c: text/plain",
	"l: 4",
	"",
	"hi") // and the line end: 4 bytes

func mustRequest(t testing.TB, s string) *Request {
	r, err := ParseRequest(s)
	require.NoError(t, err)
	return r
}

func TestForwardEdits(t *testing.T) {
	r := mustRequest(t, invite)
	require.Nil(t, r.Valid(Limits{}))
	require.Equal(t, "88", r.FromTag())
	require.Equal(t, "", r.ToTag())
	require.Equal(t, "abc@192.0.2.1", r.CallID())
	r.SetViaReceived("203.0.113.9", 1234)
	c := r.Clone()
	c.SetURI(MustParseURI("sip:bob@192.0.2.77"))
	c.PushVia(Via{Transport: "UDP", Host: "192.0.2.9", Params: ";branch=z9hG4bKd"})
	c.Prepend("Record-Route", "<sip:192.0.2.9;lr>")
	c.SetMaxForwards(69)
	v, ok := c.PopFirst("route")
	require.True(t, ok)
	require.Equal(t, "<sip:p1.example.com;lr>", v)
	require.Equal(t, lines(
		"INVITE sip:bob@192.0.2.77 SIP/2.0",
		"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKd",
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport=1234;received=203.0.113.9, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKb",
		"v: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKc",
		"Record-Route: <sip:192.0.2.9;lr>",
		"Max-Forwards: 69",
		"Route: <sip:p2.example.com;lr>",
		"f: \"A, B\" <sip:alice@example.com;tag=no>;tag=88",
		"t: <sip:bob@example.com>",
		"i: abc@192.0.2.1",
		"CSeq: 1 INVITE",
		"X-Odd :  kept",
		"Contact: <sip:alice@192.0.2.1>",
		"c: text/plain",
		"l: 4",
		"",
		"hi"), c.String())
	require.Equal(t, len(c.String()), c.Len())
	for range 4 {
		require.True(t, c.PopVia())
	}
	require.False(t, c.PopVia())
	require.False(t, c.Has("Via"))

	res := NewResponse(r, 180, "", "tt")
	require.Equal(t, lines(
		"SIP/2.0 180 Ringing",
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport=1234;received=203.0.113.9, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKb",
		"v: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKc",
		"f: \"A, B\" <sip:alice@example.com;tag=no>;tag=88",
		"t: <sip:bob@example.com>;tag=tt",
		"i: abc@192.0.2.1",
		"CSeq: 1 INVITE",
		"Content-Length: 0",
		""), res.String())
	require.Equal(t, "tt", res.ToTag())
	res.CopyRecordRoute(c)
	res.SetBody("text/plain", "abc")
	require.Contains(t, res.String(), "rport=1234;received=203.0.113.9, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKb\r\nv: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKc\r\nRecord-Route: <sip:192.0.2.9;lr>\r\n")
	require.True(t, strings.HasSuffix(res.String(), "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"))
	res.Code, res.Reason = 200, "OK"
	require.True(t, strings.HasPrefix(res.String(), "SIP/2.0 200 OK\r\nVia"))
	require.Equal(t, len(res.String()), res.Len())
	back, err := ParseResponse(res.String())
	require.NoError(t, err)
	require.Nil(t, back.Valid(Limits{}))

	cancel := r.Clone()
	cancel.Method = CANCEL
	cancel.Set("CSeq", "1 CANCEL")
	cancel.SetBody("", "")
	require.True(t, strings.HasPrefix(cancel.String(), "CANCEL sip:bob@example.com SIP/2.0\r\nVia"))
	require.Equal(t, len(cancel.String()), cancel.Len())
	require.Nil(t, mustRequest(t, cancel.String()).Valid(Limits{}))
}

func TestNewRequest(t *testing.T) {
	r := NewRequest(OPTIONS, MustParseURI("sip:a@b"))
	r.Add("To", "<sip:a@b>")
	r.PushVia(Via{Transport: "UDP", Host: "h"})
	r.Set("Max-Forwards", "70")
	require.Equal(t, "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: <sip:a@b>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", r.String())
}
