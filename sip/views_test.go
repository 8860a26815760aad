package sip

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func header(t *testing.T, fields ...string) *Header {
	return mustRequest(t, "OPTIONS sip:a@b SIP/2.0\r\n"+strings.Join(fields, "\r\n")+"\r\n\r\n").Head()
}

func TestLists(t *testing.T) {
	h := header(t, "Contact: \"a, b\" <sip:a,b@c>, sip:d@e;x=\"1,2\"", "m:", " <sip:f@g> ,, *", "Subject: one, two", "k: a , b",
		"Supported: C", "X-L: 1,2", "Route: <sip:x", "Authorization: Digest a=b, c=d", "Require: x")
	require.Equal(t, []string{`"a, b" <sip:a,b@c>`, `sip:d@e;x="1,2"`, "<sip:f@g>", "*"}, slices.Collect(h.Values("contact")))
	require.Equal(t, []string{`"a, b" <sip:a,b@c>, sip:d@e;x="1,2"`, "<sip:f@g> ,, *"}, slices.Collect(h.All("m")))
	require.Equal(t, []string{"one, two"}, slices.Collect(h.Values("s")))
	require.Equal(t, []string{"1,2"}, slices.Collect(h.Values("x-l")))
	require.Equal(t, []string{"a", "b", "C"}, slices.Collect(h.Supporteds()))
	require.Equal(t, []string{"Digest a=b, c=d"}, slices.Collect(h.Values("Authorization")))
	require.True(t, h.HasToken("supported", "c"))
	require.False(t, h.HasToken("supported", "d"))
	var users []string
	for n, err := range h.Contacts() {
		require.NoError(t, err)
		users = append(users, n.URI.User)
	}
	require.Equal(t, []string{"a,b", "d", "f", ""}, users)
	for _, err := range h.Routes() {
		require.Error(t, err)
	}
	require.Equal(t, "x", h.Get("REQUIRE"))
	require.False(t, h.Has("Via"))
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		v  string
		n  uint32
		ok bool
	}{
		{"0", 0, true}, {"70", 70, true}, {"255", 255, true}, {"256", 256, false}, {"-1", 0, false}, {"+1", 0, false},
		{"", 0, false}, {"1 2", 0, false}, {"99999999999999999999999", 0, false}, {"1x", 0, false}, {"007", 7, true},
	} {
		h := header(t, "Max-Forwards: "+c.v, "Expires: "+c.v, "Retry-After: "+c.v+" (a comment);duration=9", "Min-Expires:"+c.v)
		n, err := h.MaxForwards()
		require.Equal(t, c.ok, err == nil, c.v)
		if c.ok {
			require.EqualValues(t, c.n, n)
			e, err := h.Expires()
			require.NoError(t, err)
			require.Equal(t, c.n, e)
			e, err = h.RetryAfter()
			require.NoError(t, err)
			require.Equal(t, c.n, e)
			e, err = h.MinExpires()
			require.NoError(t, err)
			require.Equal(t, c.n, e)
		}
	}
	h := header(t, "Expires: 4294967295", "Retry-After: 1x")
	e, err := h.Expires()
	require.NoError(t, err)
	require.EqualValues(t, 1<<32-1, e)
	_, err = h.RetryAfter()
	require.Error(t, err)
	_, err = h.MaxForwards()
	require.Equal(t, ErrNoField, err)
	_, err = h.Via()
	require.Equal(t, ErrNoField, err)
	_, err = h.From()
	require.Equal(t, ErrNoField, err)
	require.Empty(t, h.CallID())
}

func TestCSeq(t *testing.T) {
	for v, want := range map[string]uint32{
		"1 INVITE": 1, "2147483647  \r\n INVITE": 1<<31 - 1, "0 INVITE": 0, "000000000000000000000009 INVITE": 9,
	} {
		n, m, err := header(t, "CSeq: "+v).CSeq()
		require.NoError(t, err, v)
		require.Equal(t, want, n)
		require.Equal(t, INVITE, m)
	}
	for _, v := range []string{"", "1", "1INVITE", "2147483648 INVITE", "-1 INVITE", "x INVITE", "1 INVITE x", "36893488147419103232 INVITE"} {
		_, _, err := header(t, "CSeq: "+v).CSeq()
		require.Error(t, err, v)
	}
}

func TestTags(t *testing.T) {
	for v, want := range map[string]string{
		"sip:a@b;tag=1":               "1",
		"<sip:a@b;tag=no>;x;TAG = 1 ": "1",
		`"q;tag=no <" <sip:a>;tag=1`:  "1",
		"<sip:a;tag=no>":              "",
		`"x`:                          "",
		"":                            "",
		"sip:a@b;x=\"<\";tag=1":       "1",
	} {
		h := header(t, "From: "+v, "To: "+v)
		require.Equal(t, want, h.FromTag(), v)
		if strings.Contains(v, "a") {
			h.SetToTag("new")
			require.Equal(t, "new", h.ToTag(), v)
			require.Equal(t, 1, strings.Count(strings.ToLower(strings.ReplaceAll(h.Get("To"), "tag=no", "")), "tag"), v)
		}
	}
}

func TestAuth(t *testing.T) {
	h := header(t, "WWW-Authenticate: Digest realm=\"a, \\\"b\\\"\",\r\n  nonce=\"x<y\" , stale=FALSE,qop=\"auth,\r\n auth-int\", bare",
		"WWW-Authenticate: Basic", "WWW-Authenticate: ,", "Proxy-Authorization: Digest response=\"01\r\n 23\"")
	var got []string
	for a, err := range h.Auths("www-authenticate") {
		if err != nil {
			got = append(got, "error")
			continue
		}
		got = append(got, a.Scheme)
		for n, v := range a.Params.All() {
			got = append(got, n+"|"+v)
		}
	}
	require.Equal(t, []string{"Digest", `realm|a, "b"`, "nonce|x<y", "stale|FALSE", "qop|auth,\r\n auth-int", "bare|", "Basic", "error"}, got)
	a, err := ParseAuth(h.Get("Proxy-Authorization"))
	require.NoError(t, err)
	require.True(t, a.IsDigest())
	v, ok := a.Params.Get("RESPONSE")
	require.True(t, ok)
	require.Equal(t, "01\r\n 23", v)
	_, ok = a.Params.Get("nonce")
	require.False(t, ok)
}

func TestDateAndTimestamp(t *testing.T) {
	h := header(t, "Date: Sat, 13 Nov 2010 23:29:00 GMT", "Timestamp: 54.25  0.5")
	d, err := h.Date()
	require.NoError(t, err)
	require.Equal(t, time.Date(2010, 11, 13, 23, 29, 0, 0, time.UTC), d.UTC())
	at, delay, err := h.Timestamp()
	require.NoError(t, err)
	require.Equal(t, []float64{54.25, 0.5}, []float64{at, delay})
	h.SetDate(d.Add(time.Hour))
	require.Equal(t, "Sun, 14 Nov 2010 00:29:00 GMT", h.Get("Date"))
	h = header(t, "Date: Fri, 01 Jan 2010 16:00:00 EST", "Timestamp: 1e3")
	_, err = h.Date()
	require.Error(t, err)
	_, _, err = h.Timestamp()
	require.Error(t, err)
}

// TestNoAllocation holds the reading of a message on the hot path to what DESIGN promises: nothing is allocated.
func TestNoAllocation(t *testing.T) {
	r := mustRequest(t, invite)
	var n int
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if r.Valid(Limits{}) != nil {
			n++
		}
		v, _ := r.Via()
		c, _, _ := r.CSeq()
		f, _ := r.From()
		n += len(v.Host) + len(r.FromTag()) + len(r.ToTag()) + len(r.CallID()) + int(c) + len(f.URI.Host) + len(r.Branch())
		for v := range r.Vias() {
			n += len(v.Branch())
		}
		for a := range r.Routes() {
			n += len(a.Params)
		}
		for v := range r.Values("Supported") {
			n += len(v)
		}
		if r.HasToken("Supported", "path") || r.Has("X-Odd") {
			n++
		}
	}))
	in := []byte(sample)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { sinkMessage, _ = Parse(in) }), 2.0)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { sinkRequest = r.Clone() }), 1.0)
}

func TestFieldNames(t *testing.T) {
	for id := idVia; id < idCount; id++ {
		name := fieldNames[id]
		require.NotEmpty(t, name, id)
		for _, s := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
			require.Equal(t, id, lookupName(s), s)
		}
		require.Equal(t, idOther, lookupName(name+"x"))
	}
	for c, id := range map[string]fieldID{"v": idVia, "V": idVia, "l": idContentLength, "z": idOther, "1": idOther, "": idOther} {
		require.Equal(t, id, lookupName(c))
	}
}
