package registrar

import (
	"strings"
	"testing"

	"github.com/sipkit/sipkit/sip"
	"github.com/stretchr/testify/require"
)

// FuzzGRUU: what is sealed opens to the same, nothing else opens, and nothing panics.
func FuzzGRUU(f *testing.F) {
	key, other := []byte("a key of thirty-two bytes ......"), []byte("another key of 32 bytes ........")
	f.Add("jan@example.com", "<urn:uuid:1>", "call", "")
	f.Add("\x00@\x00", "<;\">", "a\x00b", "AAAA")
	f.Add("", "", "", seal(key, joined("a", "b", "c")))
	f.Add(strings.Repeat("x", 200), "<\xff>", "c", seal(key, "\x80\x80\x80\x80\x80"))
	f.Fuzz(func(t *testing.T, aor, instance, callID, token string) {
		sealed := seal(key, joined(aor, instance, callID))
		text, ok := unseal(key, sealed)
		require.True(t, ok)
		parts, ok := split(text)
		require.Equal(t, aor != "" && instance != "" && callID != "", ok)
		if ok {
			require.Equal(t, [3]string{aor, instance, callID}, parts)
		}
		_, ok = unseal(other, sealed)
		require.False(t, ok)
		if text, ok := unseal(key, token); ok {
			split(text)
		}
		split(token)
		// A public GRUU gives its instance back, whatever stands in it.
		u := sip.URI{Scheme: "sip", User: "a", Host: "example.com"}
		gr := escapeParam(instance)
		if gr == "" {
			return
		}
		u, err := sip.ParseURI(u.WithParam("gr", gr).String())
		require.NoError(t, err)
		v, _ := u.Params.Get("gr")
		require.Equal(t, instance, sip.Unescape(v))
	})
}
