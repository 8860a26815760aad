package nat

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPrivateEdges goes to the ends of every network, from both sides.
func TestPrivateEdges(t *testing.T) {
	for _, text := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "169.254.0.0/16", "fc00::/7", "fe80::/10"} {
		p := netip.MustParsePrefix(text)
		first, last := p.Addr(), lastOf(p)
		require.True(t, Private(first), text)
		require.True(t, Private(last), text)
		require.False(t, Private(first.Prev()), text)
		require.False(t, Private(last.Next()), text)
	}
	require.True(t, Private(netip.MustParseAddr("::ffff:10.1.2.3")))
	require.False(t, Private(netip.MustParseAddr("127.0.0.1")))
	require.False(t, Private(netip.Addr{}))
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
