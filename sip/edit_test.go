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

// fields gives the header fields as printed, behind the start line.
func fields(h *Header) (s []string) {
	for n, v := range h.Fields() {
		s = append(s, n+"="+v)
	}
	return s
}

func TestEdits(t *testing.T) {
	base := []string{"Via: a", "Route: <sip:1>,, <sip:2>", "route : <sip:3>", "X: one", "k: p, q,r", "s: t, u", "Content-Length: 0"}
	for name, c := range map[string]struct {
		edit func(h *Header)
		want string
	}{
		"set":              {func(h *Header) { h.Set("Route", "<sip:n>") }, "Via=a|Route=<sip:n>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"set new":          {func(h *Header) { h.Set("Y", "v") }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Y=v|Content-Length=0"},
		"set compact":      {func(h *Header) { h.Set("Supported", "v") }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|Supported=v|s=t, u|Content-Length=0"},
		"set line break":   {func(h *Header) { h.Set("X", "a\r\nVia: b\n") }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=a  Via: b |k=p, q,r|s=t, u|Content-Length=0"},
		"set bad name":     {func(h *Header) { h.Set("X: y\r\nVia", "a"); h.Add("", "b"); h.Prepend("a b", "c") }, ""},
		"set length":       {func(h *Header) { h.Set("l", "77") }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|l=0"},
		"del length":       {func(h *Header) { h.Del("l") }, ""},
		"add":              {func(h *Header) { h.Add("ROUTE", "<sip:n>") }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|ROUTE=<sip:n>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"prepend":          {func(h *Header) { h.Prepend("Route", "<sip:n>") }, "Via=a|Route=<sip:n>|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"prepend new":      {func(h *Header) { h.Prepend("Path", "<sip:n>") }, "Via=a|Path=<sip:n>|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"prepend vias":     {func(h *Header) { h.Prepend("Via", "b"); h.Add("X", "two"); h.Prepend("Record-Route", "<sip:n>") }, "Via=b|Via=a|Record-Route=<sip:n>|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|X=two|k=p, q,r|s=t, u|Content-Length=0"},
		"prepend func":     {func(h *Header) { h.PrependFunc("X", func(b []byte) []byte { return append(b, "a\nb"...) }) }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=a b|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"del":              {func(h *Header) { h.Del("x"); h.Del("Route") }, "Via=a|k=p, q,r|s=t, u|Content-Length=0"},
		"pop":              {func(h *Header) { h.PopFirst("Route") }, "Via=a|Route=<sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"pop twice":        {func(h *Header) { h.PopFirst("Route"); h.PopFirst("Route") }, "Via=a|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"pop two":          {func(h *Header) { require.Equal(t, 2, h.PopValues("Route", 2)) }, "Via=a|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"pop more":         {func(h *Header) { require.Equal(t, 3, h.PopValues("Route", 9)) }, "Via=a|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"pop two of three": {func(h *Header) { require.Equal(t, 2, h.PopValues("Supported", 2)) }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=r|s=t, u|Content-Length=0"},
		"pop none":         {func(h *Header) { require.Zero(t, h.PopValues("Path", 2)) }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"pop no list":      {func(h *Header) { h.PopFirst("Subject") }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|Content-Length=0"},
		"replace first":    {func(h *Header) { h.ReplaceFirst("Route", "<sip:n>") }, "Via=a|Route=<sip:n>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"delfunc":          {func(h *Header) { h.DelFunc("Supported", func(s string) bool { return s == "q" }) }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, r|s=t, u|Content-Length=0"},
		"delfunc all":      {func(h *Header) { h.DelFunc("Route", func(string) bool { return true }) }, "Via=a|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"delfunc none":     {func(h *Header) { h.DelFunc("Route", func(string) bool { return false }) }, ""},
		"max-forwards new": {func(h *Header) { h.SetMaxForwards(70) }, "Via=a|Max-Forwards=70|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Length=0"},
		"body":             {func(h *Header) { h.SetBody("a/b", "12345") }, "Via=a|Route=<sip:1>,, <sip:2>|route=<sip:3>|X=one|k=p, q,r|s=t, u|Content-Type=a/b|Content-Length=5"},
	} {
		t.Run(name, func(t *testing.T) {
			h := header(t, base...)
			before := strings.Join(fields(h), "|")
			c.edit(h)
			if c.want == "" {
				c.want = before
			}
			require.Equal(t, c.want, strings.Join(fields(h), "|"))
		})
	}
}

func TestManyEditsAndFields(t *testing.T) {
	r := mustRequest(t, invite)
	for i := range 60 { // over the inline index
		r.Add("X-Many", string(rune('a'+i%26)))
	}
	c := r.Clone()
	for range 1000 { // over every arena
		c.SetMaxForwards(1)
		c.Prepend("Record-Route", "<sip:192.0.2.1;lr>")
	}
	for range 999 {
		_, ok := c.PopFirst("Record-Route")
		require.True(t, ok)
	}
	p := mustRequest(t, c.String())
	require.Equal(t, fields(c.Head()), fields(p.Head()))
	require.Len(t, fields(r.Head()), 12+60)
	require.Equal(t, "70", r.Get("Max-Forwards"))
	require.Equal(t, len(c.String()), c.Len())
}

func TestClonesAreIndependent(t *testing.T) {
	r := mustRequest(t, invite)
	r.SetViaReceived("192.0.2.99", 7)
	text := r.String()
	a, b := r.Clone(), r.Clone()
	a.Set("X-A", "a")
	b.Set("X-B", "b")
	r.Set("X-R", "r")
	require.Equal(t, "a", a.Get("X-A"))
	require.Equal(t, "b", b.Get("X-B"))
	require.False(t, a.Has("X-B") || b.Has("X-A") || a.Has("X-R"))
	r.Del("X-R")
	require.Equal(t, text, r.String())
	for range 50 { // a large arena is shared; spare room is not
		r.Set("X-R", strings.Repeat("r", 20))
	}
	a = r.Clone()
	a.Set("X-R", strings.Repeat("a", 20))
	r.Set("X-R", strings.Repeat("s", 20))
	require.Equal(t, strings.Repeat("a", 20), a.Get("X-R"))
	require.Equal(t, strings.Repeat("s", 20), r.Get("X-R"))
}

func TestOldStringsStay(t *testing.T) {
	r := mustRequest(t, invite)
	r.Set("X", "first")
	v := r.Get("X")
	for range 100 {
		r.Set("X", "other")
	}
	require.Equal(t, "first", v)
}

// TestNoSpilledLineBreak pushes hostile values through every typed edit.
func TestNoSpilledLineBreak(t *testing.T) {
	const evil = "x\r\nVia: SIP/2.0/UDP evil"
	r := mustRequest(t, invite)
	r.PushVia(Via{Transport: evil, Host: evil, Params: evil})
	r.SetViaReceived(evil, 1)
	r.SetToTag(evil)
	r.SetURI(URI{Scheme: "sip", Host: evil})
	res := NewResponse(r, 200, evil, evil)
	res.Reason = evil
	for _, m := range []Message{r, res} {
		require.NotContains(t, m.String(), "\nVia: SIP/2.0/UDP evil")
		require.Equal(t, len(m.String()), m.Len())
	}
}

func TestLineEnds(t *testing.T) {
	for _, text := range []string{
		"OPTIONS sip:a SIP/2.0\nVia: SIP/2.0/UDP h\nX: a\n b\n\nbody\n",
		"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\nX: a\r\n\tb\r\n\nbody\n",
	} {
		r := mustRequest(t, "\r\n\n"+text)
		require.Equal(t, text, r.String())
		require.Equal(t, "body\n", r.Body())
		require.Len(t, fields(r.Head()), 2)
		r.PushVia(Via{Transport: "UDP", Host: "x"})
		require.Contains(t, r.String(), "Content-Length: 5\r\n")
		require.True(t, strings.HasSuffix(r.String(), "body\n"))
	}
	for _, text := range []string{"OPTIONS sip:a SIP/2.0", "OPTIONS sip:a SIP/2.0\r\nX: y", "OPTIONS sip:a SIP/2.0\r\nX: y\r\n"} {
		r := mustRequest(t, text)
		require.Equal(t, text, r.String())
		r.Set("Y", "z")
		require.True(t, strings.HasSuffix(r.String(), "\r\nY: z\r\n\r\n"), r.String())
	}
}

func TestNewResponse(t *testing.T) {
	r := mustRequest(t, strings.Replace(invite, "X-Odd :  kept", "Timestamp: 54", 1))
	res := NewResponse(r, 100, "", "tag")
	require.Equal(t, "54", res.Get("Timestamp"))
	require.Empty(t, res.ToTag())
	require.Equal(t, ErrLocal, res.Cause)
	require.Equal(t, "SIP/2.0", res.Version())
	require.False(t, NewResponse(r, 200, "", "tag").Has("Timestamp"))
	r.SetToTag("theirs")
	res = NewResponse(r, 499, "Odd", "tag")
	require.Equal(t, "theirs", res.ToTag())
	require.True(t, strings.HasPrefix(res.String(), "SIP/2.0 499 Odd\r\n"))
	require.Empty(t, res.Body())
	require.True(t, res.Is(1, 499))
	require.False(t, (*Response)(nil).Is(200) || (*Response)(nil).IsSuccess() || (*Response)(nil).IsProvisional())
	r = mustRequest(t, "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: sip:a@b\r\nTo: <sip:c@d>\r\n\r\n")
	require.Equal(t, "t", NewResponse(r, 400, "", "t").ToTag(), "the first To is the one that is looked at")
	r = mustRequest(t, "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h")
	require.Equal(t, "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP h\r\nContent-Length: 0\r\n\r\n", NewResponse(r, 400, "", "t").String())
}

// Revision differs after each edit, also one that leaves the length as it was.
func TestRevision(t *testing.T) {
	r, err := ParseResponse("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b\r\nSubject: one\r\nTo: <sip:a@b>\r\nContent-Length: 0\r\n\r\n")
	require.NoError(t, err)
	seen := map[uint64]bool{r.Revision(): true}
	for _, edit := range []func(){
		func() { r.PopVia() }, func() { r.Set("Subject", "two") }, func() { r.Set("Subject", "six") }, func() { r.Del("Subject") },
		func() { r.SetToTag("x") }, func() { r.SetBody("text/plain", "hello") }, func() { r.SetBody("text/plain", "world") }, func() { r.Add("X", "y") },
	} {
		edit()
		require.False(t, seen[r.Revision()])
		seen[r.Revision()] = true
		_ = r.String()
		require.True(t, seen[r.Revision()], "printing is no edit")
	}
}

func TestMaxBreadth(t *testing.T) {
	const start, end = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n", "Content-Length: 0\r\n\r\n"
	for _, tc := range []struct {
		fields string
		n      int
		bad    bool
		set    string
	}{
		{"", 0, true, "Max-Breadth: 3\r\n"},
		{"Max-Breadth: 60\r\n", 60, false, "Max-Breadth: 3\r\n"},
		{"max-breadth:7\r\nMax-Breadth: 9\r\n", 7, false, "max-breadth:3\r\n"},
		{"Max-Breadth: many\r\n", 0, true, "Max-Breadth: 3\r\n"},
		{"Max-Breadth:\r\n", 0, true, "Max-Breadth: 3\r\n"},
	} {
		r, err := ParseRequest(start + tc.fields + end)
		require.NoError(t, err)
		n, err := r.MaxBreadth()
		require.Equal(t, tc.n, n, tc.fields)
		require.Equal(t, tc.bad, err != nil, tc.fields)
		r.SetMaxBreadth(3)
		require.Equal(t, start+tc.set+end, r.String())
	}
}
