package auth

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// TestRFCExamples computes the responses that RFC 2617 §3.5 and RFC 7616 §3.9.1 print.
func TestRFCExamples(t *testing.T) {
	const nonce7616, cnonce7616 = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
	for _, x := range []struct {
		name     string
		password string
		c        credentials
		want     string
	}{
		{"RFC 2617 MD5", "Circle Of Life", credentials{username: "Mufasa", realm: "testrealm@host.com", nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
			uri: "/dir/index.html", nc: "00000001", cnonce: "0a4f113b", qop: "auth", hash: MD5, method: QOPAuth}, "6629fae49393a05397450978507c4ef1"},
		{"RFC 2069 form", "CircleOfLife", credentials{username: "Mufasa", realm: "testrealm@host.com", nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
			uri: "/dir/index.html", hash: MD5, method: QOPNone}, "1949323746fe6a43ef61f9606e7febea"},
		{"RFC 7616 MD5", "Circle of Life", credentials{username: "Mufasa", realm: "http-auth@example.org", nonce: nonce7616,
			uri: "/dir/index.html", nc: "00000001", cnonce: cnonce7616, qop: "auth", hash: MD5, method: QOPAuth}, "8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 7616 SHA-256", "Circle of Life", credentials{username: "Mufasa", realm: "http-auth@example.org", nonce: nonce7616,
			uri: "/dir/index.html", nc: "00000001", cnonce: cnonce7616, qop: "auth", hash: SHA256, method: QOPAuth},
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		// §3.9.2 prints ae66e67d..., which is SHA-512 cut to 256 bits, not SHA-512/256 (errata 4897); this is the real one, from OpenSSL.
		{"RFC 7616 SHA-512-256", "Secret, or not?", credentials{username: "J\u00e4s\u00f8n Doe", realm: "api@example.org",
			nonce: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", uri: "/doe.json", nc: "00000001",
			cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", qop: "auth", hash: SHA512256, method: QOPAuth},
			"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"},
	} {
		t.Run(x.name, func(t *testing.T) {
			ha1 := Password(x.c.realm, x.c.username, x.password).ha1(x.c.hash)
			require.Equal(t, x.want, hex.EncodeToString(x.c.compute(nil, ha1, "GET", "")))
		})
	}
}

func TestAlgorithmNames(t *testing.T) {
	for _, x := range []struct {
		in      string
		want    Algorithms
		session bool
		ok      bool
	}{
		{"", MD5, false, true}, {"md5", MD5, false, true}, {"MD5-sess", MD5, true, true}, {"SHA-256", SHA256, false, true},
		{"sha-512-256-SESS", SHA512256, true, true}, {"SHA-512", 0, false, false}, {"-sess", 0, false, false}, {"SHA256", 0, false, false},
	} {
		a, session, ok := parseAlgorithm(x.in)
		require.Equal(t, x.ok, ok, x.in)
		if ok {
			require.Equal(t, x.want, a, x.in)
			require.Equal(t, x.session, session, x.in)
		}
	}
	require.Equal(t, "SHA-512-256,SHA-256,MD5", allAlgorithms.String())
}

func TestCountWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r replays
		r.open(1024, time.Minute)
		n := nonce{issued: time.Now().UnixNano(), random: 1}
		time.Sleep(time.Second)
		for _, x := range []struct {
			count uint32
			ok    bool
		}{
			{5, true}, {5, false}, {3, true}, {3, false}, {6, true}, {70, true}, {7, true}, {6, false}, {5, false}, {70, false},
			{69, true}, {1 << 31, true}, {70, false}, {1<<31 - 63, true}, {1<<31 - 64, false}, {1<<32 - 1, true}, {1<<32 - 1, false},
		} {
			require.Equal(t, x.ok, r.use(n, x.count, time.Now()), "count %d", x.count)
		}
	})
}

// TestCountsForgotten: what is remembered is bounded, and a nonce whose counts were dropped cannot be used again.
func TestCountsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r replays
		r.open(replayShards*8, time.Minute)
		first := nonce{issued: time.Now().UnixNano()}
		require.True(t, r.use(first, 1, time.Now()))
		for i := range 1000 {
			time.Sleep(time.Millisecond)
			n := nonce{issued: time.Now().UnixNano(), random: uint32(i)}
			require.True(t, r.use(n, 1, time.Now()), "a new nonce works at once")
			require.False(t, r.use(n, 1, time.Now()))
			require.LessOrEqual(t, r.entries(), replayShards*8)
		}
		require.False(t, r.use(first, 1, time.Now()))
		require.False(t, r.use(first, 2, time.Now()), "stale rather than unsure")
		time.Sleep(time.Hour)
		last := nonce{issued: time.Now().UnixNano()}
		require.True(t, r.use(last, 1, time.Now()))
		time.Sleep(time.Hour)
		require.True(t, r.use(nonce{issued: time.Now().UnixNano()}, 1, time.Now()))
		require.LessOrEqual(t, r.entries(), 8*replayShards)
	})
}

func TestGuessBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g guesses
		g.open(1024, 5*time.Second)
		at := g.origin(netip.MustParseAddr("192.0.2.1"))
		require.NotEqual(t, at, g.origin(netip.MustParseAddr("192.0.2.2")))
		require.Equal(t, g.origin(netip.MustParseAddr("2001:db8::1")), g.origin(netip.MustParseAddr("2001:db8::2")))
		k := g.key(at, "bob")
		for range 32 {
			require.False(t, g.exhausted(k, 32, time.Now()))
			g.failed(k, time.Now())
		}
		require.True(t, g.exhausted(k, 32, time.Now()))
		require.False(t, g.exhausted(g.key(at, "alice"), 32, time.Now()))
		time.Sleep(5*time.Second + 1)
		require.False(t, g.exhausted(k, 32, time.Now()))
		g.failed(k, time.Now())
		require.True(t, g.exhausted(k, 32, time.Now()))
	})
}

func TestReadUsers(t *testing.T) {
	h32, h64 := strings.Repeat("a", 32), strings.Repeat("B", 64)
	table, err := readUsers(strings.NewReader("# users\n\nbob:example.com:"+h32+"\r\n"+
		"alice:example.org:"+h32+":"+h64+":"+h64+"\n"+
		"carol:example.org::"+h64+"\n"+
		"dave:[2001:db8::1]:"+h32+"\n"+
		"eve:sip.example.net:5070:"+h32+":"+h64), "f")
	require.NoError(t, err)
	require.Len(t, table.users, 5)
	low := strings.ToLower(h64)
	require.Equal(t, Secret{MD5: h32}, table.users[userKey{"example.com", "bob"}])
	require.Equal(t, Secret{h32, low, low}, table.users[userKey{"example.org", "alice"}])
	require.Equal(t, Secret{SHA256: low}, table.users[userKey{"example.org", "carol"}])
	require.Equal(t, Secret{MD5: h32}, table.users[userKey{"[2001:db8::1]", "dave"}])
	require.Equal(t, Secret{MD5: h32, SHA256: low}, table.users[userKey{"sip.example.net:5070", "eve"}])
	require.Equal(t, MD5, table.algorithms("example.com"))
	require.Equal(t, SHA256, table.algorithms("example.org"), "what all its users have")
	require.Equal(t, MD5, table.algorithms("nowhere"))

	_, err = readUsers(strings.NewReader("bob\n:example.com:"+h32+"\nbob::"+h32+"\nbob:example.com:123\nbob:example.com:"+h32+"\nbob:example.com:"+h32+
		"\ncarol:example.com:"+strings.Repeat("x", 32)+"\ndave:example.com:\nerin:example.com:::"+h64+"\n"), "users")
	require.Error(t, err)
	for _, want := range []string{"users:1:", "users:2:", "users:3:", "users:4: the MD5", "users:6: user and realm appear twice", "users:7: the MD5", "users:8: no hash",
		`users: realm "example.com"`} {
		require.Contains(t, err.Error(), want)
	}
	require.NotContains(t, err.Error(), "users:5:")
}

func TestMalformedCredentials(t *testing.T) {
	const good = `username="bob", realm="r", nonce="n", uri="sip:r", response="00000000000000000000000000000000"`
	for _, x := range []struct{ params, fault string }{
		{good, ""},
		{good + `, qop=auth, nc=00000001, cnonce="c"`, ""},
		{good + `, qop="auth", nc=1, cnonce="c"`, ""},
		{good + `, opaque="unasked for", domain=x, =, , foo`, ""},
		{strings.Replace(good, "username", "user", 1), "no digest username"},
		{strings.Replace(good, `"bob"`, `"`+strings.Repeat("b", 257)+`"`, 1), "digest username too long"},
		{strings.Replace(good, `nonce=`, `once=`, 1), "no digest nonce"},
		{strings.Replace(good, `"n"`, `""`, 1), ""}, // blank: not challenged yet
		{strings.Replace(good, `uri=`, `url=`, 1), "no digest uri"},
		{strings.Replace(good, `response=`, `Response:`, 1), "no digest response"},
		{good + `, username="eve"`, "repeated digest parameter"},
		{good + `, qop=auth, nc=00000001`, "no digest cnonce"},
		{good + `, qop=auth, cnonce="c"`, "malformed digest nc"},
		{good + `, qop=auth, nc=00000000, cnonce="c"`, "malformed digest nc"},
		{good + `, qop=auth, nc=000000001, cnonce="c"`, "malformed digest nc"},
		{good + `, qop=auth, nc=-1, cnonce="c"`, "malformed digest nc"},
		{good + `, x="` + strings.Repeat("x", maxField) + `"`, "credentials too long"},
	} {
		_, fault := parseCredentials(sip.AuthParams(x.params))
		require.Equal(t, x.fault, fault, x.params)
	}
}

// TestNobody: what stands in for the secret of unknown users opens no door.
func TestNobody(t *testing.T) {
	req := sip.NewRequest(sip.REGISTER, sip.MustParseURI("sip:r"))
	r := &sipproxy.Request{Request: req}
	for _, a := range strongestFirst {
		c := credentials{username: "nobody", realm: "r", nonce: "n", uri: "sip:r", hash: a, method: QOPNone}
		c.size = len(c.compute(c.digest[:0], strings.Repeat("0", a.hexLen()), sip.REGISTER, ""))
		require.True(t, c.matches(nobody[a.hexLen()/64], req))
		require.False(t, new(Digest).right(&c, Secret{}, r), a)
		require.True(t, new(Digest).right(&c, Secret{strings.Repeat("0", 32), strings.Repeat("0", 64), strings.Repeat("0", 64)}, r), a)
	}
}

// TestClockSetBack: nonces issued after the clock was set back work, though counts of later instants were forgotten; what was used stays used.
func TestClockSetBack(t *testing.T) {
	var r replays
	r.open(replayShards*8, time.Minute)
	now := time.Unix(1e9, 0)
	issue := func(random int) nonce { return nonce{issued: now.UnixNano(), random: uint32(random)} }
	for i := range 1000 {
		now = now.Add(time.Millisecond)
		require.True(t, r.use(issue(i), 1, now))
	}
	used := issue(999)
	now = now.Add(-time.Hour)
	for i := range 1000 {
		now = now.Add(time.Millisecond)
		n := issue(i)
		now = now.Add(time.Millisecond)
		if ok := r.use(n, 1, now); i >= replayShards { // the first in a shard may come before the step is seen
			require.True(t, ok, i)
		}
		require.False(t, r.use(n, 1, now))
		if i == 0 {
			require.False(t, r.use(used, 1, now))
		}
		require.LessOrEqual(t, r.entries(), replayShards*8)
	}
}
