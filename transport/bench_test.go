//go:build unix

package transport

import (
	"net"
	"net/netip"
	"syscall"
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

// cpu is the CPU time of the process in nanoseconds, which says more than the clock on a busy machine.
func cpu(b *testing.B) float64 {
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return float64(r.Utime.Nano() + r.Stime.Nano())
}

// pump keeps benchWindow datagrams on their way to server and back to the client until n have come.
func pump(b *testing.B, client *net.UDPConn, server netip.AddrPort) {
	b.Helper()
	msg := []byte(options("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport", 1))
	buf := make([]byte, 2048)
	sent := 0
	b.ReportAllocs()
	b.ResetTimer()
	start := cpu(b)
	for got := range b.N {
		for sent < b.N && sent-got < benchWindow {
			if _, err := client.WriteToUDPAddrPort(msg, server); err != nil {
				b.Fatal(err)
			}
			sent++
		}
		if _, err := client.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpu(b)-start)/float64(b.N), "cpu-ns/op")
}

// BenchmarkUDPForward parses, marks and sends on each datagram.
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

// BenchmarkUDPBareForward sends on what it reads, unseen.
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

// One datagram alone: sendmmsg against sendto.
func BenchmarkUDPSendOne(b *testing.B) {
	hole := udpClient(b, "127.0.0.1:0")
	to := netip.MustParseAddrPort(hole.LocalAddr().String())
	msg := []byte(options("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport", 1))
	b.Run("layer", func(b *testing.B) {
		l, _ := layer(b, Config{}, "udp:127.0.0.1:0")
		f, err := l.FlowTo(Addr{Proto: UDP, AddrPort: to}, Flow{})
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			_ = f.SendRaw(msg, nil)
		}
	})
	b.Run("bare", func(b *testing.B) {
		c := udpClient(b, "127.0.0.1:0")
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.WriteToUDPAddrPort(msg, to)
		}
	})
}
