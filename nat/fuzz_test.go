package nat

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

func FuzzSTUN(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"))
	f.Add([]byte("\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijkl\x00\x24\x00\x04xxxx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var room [stunMax]byte
		for _, from := range []string{"192.0.2.1:5060", "[2001:db8::1]:5060"} {
			out, ok := stunAnswer(room[:0], in, netip.MustParseAddrPort(from))
			if !ok || len(out) == 0 {
				continue
			}
			require.LessOrEqual(t, len(out), stunMax)
			require.Equal(t, len(out)-stunHeader, int(binary.BigEndian.Uint16(out[2:])))
			require.Equal(t, in[4:20], out[4:20])
		}
	})
}

func FuzzAlias(f *testing.F) {
	f.Add("203.0.113.7~40000~1")
	f.Add("[2001:db8::1]~5060~3;x")
	f.Fuzz(func(t *testing.T, s string) {
		if at, ok := parseAlias(s); ok {
			again, ok := parseAlias(aliasValue(at))
			require.True(t, ok)
			require.Equal(t, at, again)
		}
		if u, err := sip.ParseURI("sip:a@b;alias=" + s); err == nil {
			cutAlias(u, "alias")
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add([]byte("\x01\x01\x02\x03\x04\x13\xc4\x05\x06\x07\x08\x13\xc4"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if local, remote, err := unpack(in); err == nil {
			require.Equal(t, local.Proto, remote.Proto)
			require.True(t, local.AddrPort.IsValid() && remote.AddrPort.IsValid())
		}
	})
}

func FuzzSDP(f *testing.F) {
	f.Add("v=0\r\nc=IN IP4 10.0.0.1/127\r\nm=audio 1\r\n")
	f.Fuzz(func(t *testing.T, body string) { sdpReasons(body, netip.MustParseAddr("192.0.2.1")) })
}
