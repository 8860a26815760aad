package transport

import (
	"net/netip"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Flows are kept and copied everywhere.
func TestFlowsAreSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Flow{}), uintptr(48))
}

// Whatever address of ours a datagram came to, flows to the same ends are equal and tell that address.
func TestFlowsFromAWildcardCompare(t *testing.T) {
	l, _ := layer(t, Config{}, "udp:0.0.0.0:0")
	k := l.udp[0]
	peer := netip.MustParseAddrPort("192.0.2.1:5060")
	flow := func(own string) Flow {
		return Flow{end: &k.end, remote: peer, local: k.source(peer, netip.MustParseAddr(own))}
	}
	first, other := flow("127.0.0.1"), flow("127.0.0.2")
	require.NotEqual(t, first, other)
	require.True(t, first == flow("127.0.0.1"), "though another came between")
	require.Equal(t, "127.0.0.1", first.Local().AddrPort.Addr().String())
	require.Equal(t, "127.0.0.2", other.Local().AddrPort.Addr().String())
	require.Equal(t, l.Addrs()[0].AddrPort.Port(), other.Local().AddrPort.Port())
	g, err := l.FlowTo(first.Remote(), first)
	require.NoError(t, err)
	require.Equal(t, first.end, g.end)
}

// A connection that is advertised by a UDP listener's address is no socket for datagrams.
func TestFlowToFromAConnectionUnderAUDPListener(t *testing.T) {
	l, _ := layer(t, Config{}, "udp:127.0.0.1:0")
	c, err := l.FlowTo(addr(t, "tcp:127.0.0.1:9"), Flow{})
	require.NoError(t, err)
	require.Zero(t, c.Listener())
	f, err := l.FlowTo(addr(t, "udp:127.0.0.1:9"), c)
	require.NoError(t, err)
	require.Equal(t, UDP, f.Proto())
}
