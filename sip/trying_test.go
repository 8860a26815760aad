package sip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendTrying(t *testing.T) {
	texts := []string{
		invite,
		strings.Replace(invite, "X-Odd :  kept", "Timestamp: 54", 1),
		strings.ReplaceAll(invite, "\r\n", "\n"),
		"INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:a@b>",
	}
	files, err := filepath.Glob("testdata/torture/*/*")
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		texts = append(texts, string(b))
	}
	seen := 0
	for _, text := range texts {
		r, err := ParseRequest(text)
		if err != nil {
			continue
		}
		seen++
		want := NewResponse(r, 100, "", "").String()
		got := AppendTrying(nil, r)
		require.Equal(t, want, string(got))
		require.LessOrEqual(t, len(got), TryingLen(r))
	}
	require.Greater(t, seen, len(texts)/2)
}

// What a 100 says is written out here: NewResponse chooses its fields by the same list.
func TestTryingText(t *testing.T) {
	r, err := ParseRequest("INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nRoute: <sip:p;lr>\r\nRecord-Route: <sip:q;lr>\r\n" +
		"Via: SIP/2.0/UDP i;branch=z9hG4bK2\r\nMax-Forwards: 70\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x\r\n" +
		"CSeq: 7 INVITE\r\nTimestamp: 54\r\nContact: <sip:c@h>\r\nContent-Length: 3\r\n\r\nabc")
	require.NoError(t, err)
	want := "SIP/2.0 100 Trying\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP i;branch=z9hG4bK2\r\nFrom: <sip:c@d>;tag=1\r\n" +
		"To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\nTimestamp: 54\r\nContent-Length: 0\r\n\r\n"
	require.Equal(t, want, string(AppendTrying(nil, r)))
	require.Equal(t, want, NewResponse(r, 100, "", "tag").String())
}
