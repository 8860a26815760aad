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
