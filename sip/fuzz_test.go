package sip

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func seeds(f *testing.F, add func(s string)) {
	for _, text := range tortureFiles(f) {
		add(text)
	}
	for _, s := range []string{
		invite, sample, "", "\r\n", "\r\n\r\n", "OPTIONS sip:a SIP/2.0", "OPTIONS sip:a SIP/2.0\r\nVia: x;branch",
		"SIP/2.0 200", "SIP/2.0 200 OK\n\n", "ACK sip:a SIP/2.0\r\n folded: x\r\n\r\n", "ACK sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch\r\n\r\n",
		"ACK sip:a SIP/2.0\r\nContent-Length: 1\r\nContent-Length : 1\r\n\r\nabc", "ACK sip:a SIP/2.0\nVia:\n ,\n", "A a SIP/\r\n:\r\n\r\n",
	} {
		add(s)
	}
}

// FuzzPipeline parses, validates, looks at everything, edits, prints and parses again.
func FuzzPipeline(f *testing.F) {
	seeds(f, func(s string) { f.Add([]byte(s)) })
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(in)
		if err != nil {
			require.Nil(t, m)
			return
		}
		text := strings.TrimLeft(string(in), "\r\n")
		h := m.Head()
		if r, ok := m.(*Request); ok {
			line, _ := cutLine(text)
			_, uri, odd, fault := requestLine(line)
			_, wantURI, wantOdd, wantFault := oddRequestLine(line)
			require.Equal(t, []any{wantURI, wantOdd, wantFault}, []any{uri, odd, fault})
			require.Equal(t, odd, r.flags&(startOdd|versionOdd))
		}
		require.Equal(t, text[:len(text)-h.Trailing()], m.String())
		require.Equal(t, len(m.String()), m.Len())
		valid := m.Valid(Limits{}) == nil
		lookAt(h)
		marksAgree(t, h)
		before := m.String()
		r, ok := m.(*Request)
		if !ok {
			res := m.(*Response).Clone()
			res.PopVia()
			res.SetToTag("x")
			again(t, res)
			marksAgree(t, res.Head())
			require.Equal(t, before, m.String())
			return
		}
		again(t, NewResponse(r, 404, "", "tt"))
		c := r.Clone()
		edit(c)
		marksAgree(t, c.Head())
		again(t, c)
		if p := again(t, c).(*Request); valid {
			require.Nil(t, p.Valid(Limits{}))
			require.Equal(t, r.CallID(), p.CallID())
			require.Equal(t, r.FromTag(), p.FromTag())
			require.Equal(t, "new", p.ToTag())
			require.Equal(t, r.Body(), p.Body())
		}
		for _, q := range []*Request{r, c} {
			res := NewResponse(q, 404, "", "tt")
			again(t, res)
			marksAgree(t, res.Head())
			res.PopVia()
			marksAgree(t, res.Head())
		}
		require.Equal(t, before, r.String())
	})
}

// again prints, checks the length, parses and finds the same fields and body.
func again(t *testing.T, m Message) Message {
	text := m.String()
	require.Equal(t, len(text), m.Len())
	p, err := ParseString(text)
	require.NoError(t, err, text)
	require.Equal(t, text, p.String())
	require.Equal(t, m.Head().Body(), p.Head().Body())
	n, err := p.Head().ContentLength()
	if _, ok := m.(*Request); ok || err == nil && p.Head().flags&(lenBad|lenTwo|lenShort) == 0 {
		if m.Head().flags&(lenBad|lenTwo|lenShort) == 0 {
			require.NoError(t, err)
			require.Equal(t, len(p.Head().Body()), n)
		}
	}
	type nv struct{ n, v string }
	var a, b []nv
	for n, v := range m.Head().Fields() {
		a = append(a, nv{n, v})
	}
	for n, v := range p.Head().Fields() {
		b = append(b, nv{n, v})
	}
	require.Equal(t, a, b)
	return p
}

func edit(c *Request) {
	c.SetViaReceived("192.0.2.1", 5)
	c.PushVia(Via{Transport: "UDP", Host: "h", Params: ";branch=z9hG4bKx"})
	c.Prepend("Record-Route", "<sip:p;lr>")
	c.SetMaxForwards(7)
	c.SetToTag("new")
	c.PopFirst("Route")
	c.ReplaceFirst("Contact", "<sip:a@b>")
	c.DelFunc("Supported", func(s string) bool { return len(s) > 4 })
	c.DelFunc("Subject", func(string) bool { return true })
	c.Set("X-New", "line\r\nbreak")
	c.Add("Allow", "INVITE")
	c.Del("User-Agent")
	if u, err := ParseURI("sip:x@192.0.2.2"); err == nil {
		c.SetURI(u)
	}
}

func lookAt(h *Header) {
	for n := range h.Fields() {
		_ = h.Get(n)
		_ = h.HasToken(n, "x")
		for range h.Values(n) {
		}
		for range h.NameAddrs(n) {
		}
		for a := range h.Auths(n) {
			for range a.Params.All() {
			}
		}
	}
	for v := range h.Vias() {
		_ = v.Branch()
		_ = v.String()
	}
	_, _ = h.From()
	_, _ = h.To()
	_, _, _ = h.CSeq()
	_, _ = h.Expires()
	_, _ = h.RetryAfter()
	_, _ = h.Date()
	_, _, _ = h.Timestamp()
}

// FuzzScan feeds a stream in pieces and wants what feeding it whole gives, which is what Parse gives.
func FuzzScan(f *testing.F) {
	seeds(f, func(s string) { f.Add([]byte(s), uint8(3)); f.Add([]byte("\r\n\r\n"+s+s), uint8(1)) })
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		l := Limits{MessageBytes: 4000, HeaderBytes: 3000}
		a := scanAll(t, in, len(in)+1, l)
		b := scanAll(t, in, int(step%7)+1, l)
		require.Equal(t, a, b)
	})
}

// scanAll gives what Scan finds in a stream that comes in pieces of step bytes: messages, and how it ended.
func scanAll(t *testing.T, in []byte, step int, l Limits) (found []string) {
	var buf []byte
	hint := 0
	for {
		m, n, ping, next, err := Scan(buf, l, hint)
		hint = next
		if err != nil {
			return append(found, "lost")
		}
		require.LessOrEqual(t, n, len(buf))
		switch {
		case m != nil:
			require.Positive(t, n)
			p, perr := Parse(buf[:n])
			require.NoError(t, perr)
			require.Equal(t, p.String(), m.String())
			require.Zero(t, m.Head().Trailing())
			found = append(found, m.String())
		case ping:
			found = append(found, "ping")
		}
		buf = buf[n:]
		if n > 0 {
			continue
		}
		if len(in) == 0 {
			return found
		}
		k := min(step, len(in))
		buf, in = append(bytes.Clone(buf), in[:k]...), in[k:]
	}
}

// FuzzURI parses, prints and parses again.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:a@b", "sips:a:p@[::1]:5061;lr;x=\"y\"?a=b&c=d", "tel:+1-2;ext=3", "sip:%00@b", "sip:a;b=c@d;e", "sip:a:@b", "urn:x"} {
		f.Add(s, "sip:a@B;x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		u, err := ParseURI(a)
		var exact URI
		reason, _ := exact.parseAny(a)
		require.Equal(t, reason == "", err == nil)
		paramsAgree(t, Params(b))
		if err != nil {
			return
		}
		require.Equal(t, exact, u)
		paramsAgree(t, u.Params)
		again, err := ParseURI(u.String())
		require.NoError(t, err)
		require.Equal(t, u, again)
		require.Equal(t, u.String(), again.String())
		require.True(t, u.Equal(again))
		v, err := ParseURI(b)
		if err == nil {
			require.Equal(t, u.Equal(v), v.Equal(u))
		}
		n, err := ParseNameAddr("x <" + a + ">;tag=1")
		require.NoError(t, err)
		require.Equal(t, u, n.URI)
	})
}

// paramsAgree wants at a glance what a closer look finds.
func paramsAgree(t *testing.T, p Params) {
	for _, name := range []string{"lr", "x", "transport"} {
		q, found := p.find(name)
		value, ok := p.Get(name)
		require.Equal(t, found, ok)
		require.Equal(t, q.value, value)
		require.Equal(t, found, p.Has(name))
	}
}

// FuzzNameAddr prints what it parsed and parses it again.
func FuzzNameAddr(f *testing.F) {
	for _, s := range []string{`"A \" B" <sip:a@b>;tag=1`, "sip:a@b;tag=1", "*", "A B<sip:a@b>", `<sip:a@b;x="<">`, "<sip:a@b>;x=<y>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNameAddr(s)
		if plainAddr(s) {
			require.NoError(t, err)
			require.Empty(t, checkAddr(s))
		}
		if err != nil {
			return
		}
		m, err := ParseNameAddr(n.String())
		require.NoError(t, err)
		require.Equal(t, n.URI, m.URI)
		require.Equal(t, n.Params, m.Params)
		require.Equal(t, n.Star, m.Star)
		require.Equal(t, m.String(), n.String())
		v, err := ParseVia(s)
		if err == nil {
			w, err := ParseVia(v.String())
			require.NoError(t, err)
			require.Equal(t, v, w)
		}
	})
}
