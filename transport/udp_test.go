package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

func TestUDPWildcardAnswersFromTheAddressAsked(t *testing.T) {
	for _, c := range []struct{ listen, client, server string }{
		{"udp:0.0.0.0:0", "127.0.0.1:0", "127.0.0.5"},
		{"udp:[::]:0", "[::1]:0", "::1"},
	} {
		t.Run(c.listen, func(t *testing.T) {
			l, r := layer(t, Config{}, c.listen)
			client := udpClient(t, c.client)
			to := netip.AddrPortFrom(netip.MustParseAddr(c.server), l.Addrs()[0].AddrPort.Port())
			_, err := client.WriteToUDPAddrPort([]byte(options("SIP/2.0/UDP x.example.com;branch=z9hG4bK1;rport", 1)), to)
			require.NoError(t, err)
			in := r.next(t)
			require.Equal(t, to, in.f.Local().AddrPort)
			host, port := in.f.SentBy()
			require.Equal(t, hostString(to.Addr()), host)
			require.Equal(t, to.Port(), port)
			require.NoError(t, in.f.Send(sip.NewResponse(in.request(), 200, "", "b"), nil))
			buf := make([]byte, 2000)
			_, from, err := client.ReadFromUDPAddrPort(buf)
			require.NoError(t, err)
			require.Equal(t, to, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
			require.True(t, l.IsLocal(c.server, to.Port(), UDP))
			found, ok := l.FindFlow(in.f.Local(), in.f.Remote())
			require.True(t, ok)
			require.Equal(t, in.f, found)
		})
	}
}

// closedPort is a UDP port on loopback where nobody listens.
func closedPort(t testing.TB, ip string) netip.AddrPort {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0)))
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

func TestUDPUnreachable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ICMP errors are read on Linux")
	}
	for _, c := range []struct{ listen, ip string }{{"udp:127.0.0.1:0", "127.0.0.1"}, {"udp:0.0.0.0:0", "127.0.0.1"}, {"udp:[::1]:0", "::1"}} {
		t.Run(c.listen, func(t *testing.T) {
			l, r := layer(t, Config{}, c.listen)
			dead := Addr{Proto: UDP, AddrPort: closedPort(t, c.ip)}
			alive := udpClient(t, netip.AddrPortFrom(dead.AddrPort.Addr(), 0).String())
			good, err := l.FlowTo(Addr{Proto: UDP, AddrPort: netip.MustParseAddrPort(alive.LocalAddr().String())}, Flow{})
			require.NoError(t, err)
			bad, err := l.FlowTo(dead, Flow{})
			require.NoError(t, err)
			const n = 50
			for i := range n {
				q := mustRequest(t, options("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1", i))
				require.NoError(t, bad.Send(q, nil))
				require.NoError(t, good.Send(q, nil), "an error about another datagram does no harm")
			}
			first := receive(t, r.lost)
			require.ErrorIs(t, first.err, ErrUnreachable)
			require.Equal(t, dead, first.to)
			require.True(t, strings.HasPrefix(first.sent, "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: "), first.sent)
			buf := make([]byte, 2000)
			for range n {
				_, _, err := alive.ReadFromUDPAddrPort(buf)
				require.NoError(t, err)
			}
			// The socket still reads.
			_, err = alive.WriteToUDPAddrPort([]byte(options("SIP/2.0/UDP h;branch=z9hG4bK1", 7)),
				netip.AddrPortFrom(dead.AddrPort.Addr(), l.Addrs()[0].AddrPort.Port()))
			require.NoError(t, err)
			require.Equal(t, "call-7", r.next(t).request().CallID())
		})
	}
}

func TestUDPBatchLeavesAtItsEnd(t *testing.T) {
	l, r := layer(t, Config{}, "udp:127.0.0.1:0", "udp:127.0.0.2:0")
	peer := udpClient(t, "127.0.0.1:0")
	to := Addr{Proto: UDP, AddrPort: netip.MustParseAddrPort(peer.LocalAddr().String())}
	f, err := l.FlowTo(to, Flow{})
	require.NoError(t, err)
	k := f.end.link.(*udpSock)
	l.Hold()
	l.Hold()
	for i := range slotCount + 10 {
		require.NoError(t, f.Send(mustRequest(t, options("SIP/2.0/UDP h;branch=z9hG4bK1", i)), nil))
	}
	require.EqualValues(t, 10, k.pending.Load(), "a full queue leaves, the rest waits")
	l.Flush()
	require.EqualValues(t, 10, k.pending.Load())
	l.Flush()
	require.Zero(t, k.pending.Load())
	buf := make([]byte, 2000)
	for i := range slotCount + 10 {
		n, _, err := peer.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
		require.Contains(t, string(buf[:n]), fmt.Sprintf("Call-ID: call-%d\r\n", i))
	}
	require.EqualValues(t, slotCount+10, l.Stats().Sent)
	require.Empty(t, r.msgs)
}

func TestUDPOddDatagrams(t *testing.T) {
	var stun []byte
	r := newRecorder()
	c := Config{Handler: r, NonSIP: func(b []byte, f Flow) bool {
		stun = append(stun, b...)
		return f.SendRaw([]byte{1, 1}, nil) == nil
	}}
	l, _ := layer(t, c, "udp:127.0.0.1:0")
	peer := udpClient(t, "127.0.0.1:0")
	for _, s := range []string{
		"", "\r\n", "\r\n\r\n", "\x00\x00\x00\x00", "\x00",
		"\x00\x01\x00\x00stun binding request",
		"rubbish", "\r\n\r\nmore rubbish", strings.Repeat("x", 60000),
		options("SIP/2.0/UDP h;branch=z9hG4bK1", 1) + "tail",
	} {
		_, err := peer.WriteToUDPAddrPort([]byte(s), l.Addrs()[0].AddrPort)
		require.NoError(t, err)
	}
	r.next(t)
	s := l.Stats()
	require.EqualValues(t, 5, s.Keepalives)
	require.EqualValues(t, 3, s.Malformed)
	require.EqualValues(t, 1, s.Trailing)
	require.EqualValues(t, 1, s.Received)
	require.Equal(t, "\x00\x01\x00\x00stun binding request", string(stun))
	buf := make([]byte, 100)
	n, _, err := peer.ReadFromUDPAddrPort(buf)
	require.NoError(t, err)
	require.Equal(t, []byte{1, 1}, buf[:n])
}

func TestUDPTooLarge(t *testing.T) {
	l, _ := layer(t, Config{}, "udp:127.0.0.1:0")
	f, err := l.FlowTo(addr(t, "udp:127.0.0.1:9"), Flow{})
	require.NoError(t, err)
	require.ErrorIs(t, f.SendRaw(make([]byte, maxPayload+1), nil), ErrTooLarge)
	require.EqualValues(t, 1, l.Stats().TooLarge)
}

func TestUDPSystemRefusesADatagram(t *testing.T) {
	l, r := layer(t, Config{}, "udp:127.0.0.1:0")
	peer := udpClient(t, "127.0.0.1:0")
	good, err := l.FlowTo(Addr{Proto: UDP, AddrPort: netip.MustParseAddrPort(peer.LocalAddr().String())}, Flow{})
	require.NoError(t, err)
	bad, err := l.FlowTo(addr(t, "udp:192.0.2.1:5060"), Flow{}) // from a loopback address
	require.NoError(t, err)
	require.Error(t, bad.SendRaw([]byte("one"), nil))
	l.Hold()
	require.NoError(t, bad.SendRaw([]byte("two"), nil))
	require.NoError(t, good.SendRaw([]byte("three"), nil))
	l.Flush()
	u := receive(t, r.lost)
	require.Equal(t, "two", u.sent)
	require.Equal(t, bad.Remote(), u.to)
	buf := make([]byte, 100)
	n, _, err := peer.ReadFromUDPAddrPort(buf)
	require.NoError(t, err)
	require.Equal(t, "three", string(buf[:n]))
	require.EqualValues(t, 2, l.Stats().SendFailed)
}

func TestUDPReaders(t *testing.T) {
	l, r := layer(t, Config{Readers: 4}, "udp:127.0.0.1:0")
	require.Len(t, l.Addrs(), 1)
	require.Len(t, l.udp, 4)
	used := map[*end]bool{}
	for i := range 64 {
		peer := udpClient(t, "127.0.0.1:0")
		_, err := peer.WriteToUDPAddrPort([]byte(options("SIP/2.0/UDP h;branch=z9hG4bK1;rport", i)), l.Addrs()[0].AddrPort)
		require.NoError(t, err)
		in := r.next(t)
		used[in.f.end] = true
		require.NoError(t, in.f.SendRaw([]byte("answer"), nil))
		buf := make([]byte, 10)
		_, from, err := peer.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
		require.Equal(t, l.Addrs()[0].AddrPort.Port(), from.Port())
	}
	require.Greater(t, len(used), 1)
}

// A handler that blocks loses its reader; one that ends its goroutine loses nothing else.
func TestUDPReaderSurvives(t *testing.T) {
	release := make(chan struct{})
	r := newRecorder()
	r.serve = func(m sip.Message, _ Flow) {
		switch m.Head().CallID() {
		case "call-1":
			<-release
		case "call-2":
			runtime.Goexit()
		}
	}
	l, _ := layer(t, Config{Handler: r, StallAfter: 5 * time.Millisecond}, "udp:127.0.0.1:0")
	peer := udpClient(t, "127.0.0.1:0")
	for i := range 10 {
		_, err := peer.WriteToUDPAddrPort([]byte(options("SIP/2.0/UDP h;branch=z9hG4bK1", i)), l.Addrs()[0].AddrPort)
		require.NoError(t, err)
	}
	for _, want := range []string{"call-0", "call-3", "call-4", "call-5", "call-6", "call-7", "call-8", "call-9"} {
		require.Equal(t, want, r.next(t).request().CallID())
	}
	receive(t, r.stalled)
	require.EqualValues(t, 1, l.Stats().Stalls)
	close(release)
	require.Equal(t, "call-1", r.next(t).request().CallID())
	_, err := peer.WriteToUDPAddrPort([]byte(options("SIP/2.0/UDP h;branch=z9hG4bK1", 11)), l.Addrs()[0].AddrPort)
	require.NoError(t, err)
	require.Equal(t, "call-11", r.next(t).request().CallID())
	require.NoError(t, l.Close())
	require.Zero(t, l.held.Load(), "the batch was ended once")
}

func TestClosed(t *testing.T) {
	l, _ := layer(t, Config{}, "udp:127.0.0.1:0")
	f, err := l.FlowTo(addr(t, "udp:127.0.0.1:9"), Flow{})
	require.NoError(t, err)
	require.True(t, f.Alive())
	require.NoError(t, l.Close())
	require.False(t, f.Alive())
	require.ErrorIs(t, f.SendRaw([]byte("x"), nil), ErrClosed)
	_, err = l.FlowTo(addr(t, "udp:127.0.0.1:9"), Flow{})
	require.ErrorIs(t, err, ErrClosed)
	require.True(t, errors.Is(Flow{}.SendRaw(nil, nil), ErrNoAddress))
}

// A refusingNet is a network whose system takes no datagram, as Linux does not take one to elsewhere on a socket bound to loopback.
type refusingNet struct{ *memNet }

type refusingConn struct{ net.PacketConn }

func (n refusingNet) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := n.memNet.ListenPacket(ctx, network, address)
	return refusingConn{c}, err
}

func (refusingConn) WriteTo([]byte, net.Addr) (int, error) { return 0, errRefused }

// Every datagram of a batch that the system refuses is told, the last one too: its transaction has heard nothing from Send.
func TestUDPRefusedInBatch(t *testing.T) {
	l, r := layer(t, Config{Net: refusingNet{newMemNet()}}, "udp:127.0.0.1:5060")
	f, err := l.FlowTo(addr(t, "udp:192.0.2.1:5060"), Flow{})
	require.NoError(t, err)
	for n := 1; n <= 3; n++ {
		l.Hold()
		for i := range n {
			require.NoError(t, f.Send(mustRequest(t, options("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1", i)), nil))
		}
		l.Flush()
		told := map[string]bool{}
		for range n {
			u := receive(t, r.lost)
			require.ErrorIs(t, u.err, errRefused)
			require.Equal(t, f.Remote(), u.to)
			told[u.sent] = true
		}
		require.Len(t, told, n)
	}
	require.EqualValues(t, 6, l.Stats().SendFailed)
	require.ErrorIs(t, f.Send(mustRequest(t, options("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1", 9)), nil), errRefused, "outside of a batch Send says it")
	require.Empty(t, r.lost)
}
