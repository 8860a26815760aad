package auth

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// FuzzCredentials reads arbitrary Authorization fields as a server does; what is understood holds together.
func FuzzCredentials(f *testing.F) {
	f.Add(`Digest username="alice", realm="r", nonce="n", uri="sip:r", response="0123456789abcdef0123456789abcdef", qop=auth, nc=00000001, cnonce="c"`)
	f.Add("Digest username=\"al\\\"ice\",\r\n response=\"81b2\r\n cb4a\", algorithm=SHA-512-256-sess")
	f.Add(`Digest ,=,"",username=`)
	f.Fuzz(func(t *testing.T, field string) {
		a, err := sip.ParseAuth(field)
		if err != nil {
			return
		}
		c, fault := parseCredentials(a.Params)
		if fault != "" || c.blank || !c.understand() {
			return
		}
		require.NotEmpty(t, c.username)
		require.LessOrEqual(t, c.size, sumSize)
		ha1 := strings.Repeat("0", c.hash.hexLen())
		require.Len(t, c.compute(nil, ha1, sip.REGISTER, "body"), c.hash.hexLen()/2)
	})
}

// FuzzAuthorize answers arbitrary challenges as a client does.
func FuzzAuthorize(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth,auth-int", stale=true, opaque="o"`)
	f.Add(`Digest realm="a\"b", nonce="\\", qop=`)
	f.Fuzz(func(t *testing.T, field string) {
		req := sip.NewRequest(sip.REGISTER, sip.MustParseURI("sip:example.com"))
		res := &sip.Response{Code: 401}
		res.Add("WWW-Authenticate", field)
		if !Authorize(req, res, "alice", "secret") {
			return
		}
		for a, err := range req.Auths("Authorization") {
			require.NoError(t, err)
			c, fault := parseCredentials(a.Params)
			if fault == "credentials too long" {
				return
			}
			require.Empty(t, fault)
			require.Equal(t, "alice", c.username)
		}
	})
}

// FuzzUsers reads arbitrary files.
func FuzzUsers(f *testing.F) {
	f.Add("bob:example.com:0123456789abcdef0123456789abcdef\n#\n::::\n")
	f.Fuzz(func(t *testing.T, text string) {
		users, err := readUsers(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		for _, s := range users.users {
			require.NotZero(t, s.Algorithms())
		}
	})
}
