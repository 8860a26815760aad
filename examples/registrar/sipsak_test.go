package main

import (
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sipproxy/auth"
)

// sipsak registers, calls itself and unregisters: its user location test.
func TestSipsak(t *testing.T) {
	need(t, "sipsak")
	for _, digest := range []bool{false, true} {
		name := "open"
		args := []string{"-listen", "udp:127.0.0.1:" + fourDigits(t), "-store", "memory", "-v"}
		if digest {
			name = "digest"
			args = append(args, "-users", file(t, "carol:sak:"+auth.Password("sak", "carol", "secret").MD5+"\n"))
		}
		t.Run(name, func(t *testing.T) {
			p, addr := start(t, args...)
			port := fourDigits(t)
			sipsak := exec.CommandContext(t.Context(), "sipsak", "-U", "-C", "sip:carol@127.0.0.1:"+port, "-x", "60", "-s", "sip:carol@"+addr[0],
				"-l", port, "-u", "carol", "-a", "secret", "-vv")
			out, err := sipsak.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, p.output(), "method=REGISTER")
			require.Contains(t, string(out), "All usrloc tests completed successful")
		})
	}
}

// fourDigits is a free UDP port: sipsak cuts longer ones in the URIs that it writes.
func fourDigits(t *testing.T) string {
	for range 100 {
		port := strconv.Itoa(6000 + rand.IntN(4000))
		if c, err := net.ListenPacket("udp", "127.0.0.1:"+port); err == nil {
			require.NoError(t, c.Close())
			return port
		}
	}
	require.Fail(t, "no free port")
	return ""
}
