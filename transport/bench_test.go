package transport

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

const benchWindow = 16 // datagrams under way

// forwarder is a Handler that sends every message on.
type forwarder struct{ to Flow }

func (f *forwarder) ServeMessage(m sip.Message, _ Flow)         { _ = f.to.Send(m, nil) }
func (f *forwarder) ServeUnreachable(_ []byte, _ Addr, _ error) {}
func (f *forwarder) Stalled()                                   {}

// pump keeps benchWindow datagrams on their way to server and back to the client until n have come.
func pump(b *testing.B, client *net.UDPConn, server netip.AddrPort) {
	b.Helper()
	msg := []byte(options("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport", 1))
	buf := make([]byte, 2048)
	sent := 0
	b.ReportAllocs()
	b.ResetTimer()
	for got := range b.N {
		for sent < b.N && sent-got < benchWindow {
			_, err := client.WriteToUDPAddrPort(msg, server)
			require.NoError(b, err)
			sent++
		}
		_, err := client.Read(buf)
		require.NoError(b, err)
	}
}

func BenchmarkUDPForward(b *testing.B) {
	h := &forwarder{}
	l := New(Config{Handler: h})
	require.NoError(b, l.Listen(b.Context(), "udp:127.0.0.1:0"))
	client := udpClient(b, "127.0.0.1:0")
	var err error
	h.to, err = l.FlowTo(Addr{Proto: UDP, AddrPort: netip.MustParseAddrPort(client.LocalAddr().String())}, Flow{})
	require.NoError(b, err)
	l.Start()
	b.Cleanup(func() { require.NoError(b, l.Close()) })
	pump(b, client, l.Addrs()[0].AddrPort)
}

func BenchmarkUDPBareForward(b *testing.B) {
	server := udpClient(b, "127.0.0.1:0")
	client := udpClient(b, "127.0.0.1:0")
	to := netip.MustParseAddrPort(client.LocalAddr().String())
	go func() {
		buf := make([]byte, maxDatagram)
		for {
			k, _, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(buf[:k], to)
		}
	}()
	pump(b, client, netip.MustParseAddrPort(server.LocalAddr().String()))
}
