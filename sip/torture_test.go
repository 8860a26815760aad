package sip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// verdicts are the codes that Valid gives the messages of RFC 4475 and RFC 5118; 0: nothing to find fault with. What
// binds only who forwards or answers (bext01, unkscm, zeromf ...) is valid here.
var verdicts = map[string]struct {
	code   int
	reason string // part of it
}{
	"badaspec": {400, "To: "}, "badinv01": {400, "Via: "}, "badvers": {505, "SIP/7.0"}, "baddn": {400, "From: "},
	"clerr": {400, "Content-Length larger"}, "ncl": {400, "Content-Length is no number"},
	"scalar02": {400, "CSeq: "}, "scalarlg": {400, "CSeq: "}, "quotbal": {400, "To: "},
	"ltgtruri": {400, "Request-URI"}, "lwsruri": {400, "Request-URI"}, "lwsstart": {400, "white space"},
	"trws": {400, "white space"}, "escruri": {400, "headers"}, "regbadct": {400, "Contact: "},
	"mismatch01": {400, "CSeq: "}, "mismatch02": {400, "CSeq: "}, "bigcode": {400, "status code"},
	"insuf": {400, "no "}, "multi01": {400, "two "}, "mcl01": {400, "Content-Lengths differ"},
	"02-ipv6-nobrackets": {400, "Request-URI"},
}

func tortureFiles(t testing.TB) map[string]string {
	names, err := filepath.Glob("testdata/torture/*/*.dat")
	require.NoError(t, err)
	files := map[string]string{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		require.NoError(t, err)
		files[strings.TrimSuffix(filepath.Base(n), ".dat")] = string(b)
	}
	delete(files, "test")
	require.Len(t, files, 49+10)
	return files
}

func TestTortureVerdicts(t *testing.T) {
	for name, text := range tortureFiles(t) {
		t.Run(name, func(t *testing.T) {
			m, err := ParseString(text)
			require.NoError(t, err)
			want := verdicts[name]
			f := m.Valid(Limits{})
			if want.code == 0 {
				require.Nil(t, f)
				return
			}
			require.NotNil(t, f)
			require.Equal(t, want.code, f.Code, f.Reason)
			require.Contains(t, f.Reason, want.reason)
		})
	}
}

func TestTortureRoundTrip(t *testing.T) {
	for name, text := range tortureFiles(t) {
		t.Run(name, func(t *testing.T) {
			m, err := ParseString(text)
			require.NoError(t, err)
			require.Equal(t, text[:len(text)-m.Head().Trailing()], m.String())
			require.Equal(t, len(m.String()), m.Len())
		})
	}
}
