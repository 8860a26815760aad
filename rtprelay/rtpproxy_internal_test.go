package rtprelay

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRecordedReplies reads every recorded reply to U and L, of RTPProxy and of rtpengine's legacy port.
func TestRecordedReplies(t *testing.T) {
	files, err := filepath.Glob("testdata/rtpproxy/*.txt")
	require.NoError(t, err)
	require.Len(t, files, 11)
	good, refused, unknown, odd := 0, 0, 0, 0
	for _, f := range append(files, "testdata/rtpengine/01-legacy-udp.txt") {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		cookie, command := "", ""
		for _, line := range strings.Split(string(text), "\n") {
			switch {
			case strings.HasPrefix(line, "> "):
				cookie, command, _ = strings.Cut(line[2:], " ")
			case strings.HasPrefix(line, "< ") && command != "" && strings.ContainsRune("UL", rune(command[0])):
				to, reply, ok := strings.Cut(strings.TrimSuffix(line[2:], `\n`), " ")
				if !ok || to != cookie {
					continue
				}
				if errorReply(reply) != nil {
					refused++
					continue
				}
				s, why := parseStream(reply, netip.Addr{})
				switch why {
				case "":
					good++
					require.True(t, s.usable(), reply)
					require.True(t, strings.HasPrefix(reply, netip.AddrPortFrom(s.Addr, s.Port).String()[strings.LastIndex(netip.AddrPortFrom(s.Addr, s.Port).String(), ":")+1:]), reply)
				case replyNoSession:
					unknown++
				default:
					odd++
					require.Contains(t, reply, "0.0.0.0", why)
				}
			}
		}
	}
	require.Equal(t, []int{3, 3}, []int{odd, unknown})
	require.Greater(t, good, 100)
	require.Greater(t, refused, 15)
}

func FuzzReply(f *testing.F) {
	f.Add("36000 127.0.0.1")
	f.Add("36000 ::1 6 && 0")
	f.Add("E71")
	f.Fuzz(func(t *testing.T, reply string) {
		_ = errorReply(reply)
		if s, why := parseStream(reply, netip.Addr{}); why == "" {
			require.True(t, s.usable() && s.Port != 65535 && !s.Addr.IsUnspecified())
		}
	})
}

func FuzzNotifyTag(f *testing.F) {
	f.Add("a b", 1, "f", "")
	f.Fuzz(func(t *testing.T, call string, leg int, from, to string) {
		r := Ref{CallID: call, Leg: leg, FromTag: from, ToTag: to}
		tag := notifyTag(r)
		require.NotContains(t, tag, " ")
		back, ok := parseNotifyTag(strings.ReplaceAll(strings.ReplaceAll(tag, "%20", " "), "%25", "%"))
		require.Equal(t, call != "", ok)
		_, _ = parseNotifyTag(call)
		if ok {
			require.Equal(t, r, back)
		}
	})
}
