package sipproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// wireless is a Net whose one socket keeps what is written to it and never reads: benchmarks hand messages to the engine themselves, so
// that what they measure is the engine without system calls.
type wireless struct {
	transport.Net
	sent map[netip.AddrPort][]byte
	done chan struct{}
}

func newWireless() *wireless {
	return &wireless{Net: transport.SystemNet{}, sent: make(map[netip.AddrPort][]byte), done: make(chan struct{})}
}

func (w *wireless) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return w, nil
}
func (w *wireless) ReadFrom([]byte) (int, net.Addr, error) { <-w.done; return 0, nil, net.ErrClosed }
func (w *wireless) WriteTo(b []byte, a net.Addr) (int, error) {
	to := a.(*net.UDPAddr).AddrPort()
	w.sent[to] = append(w.sent[to][:0], b...)
	return len(b), nil
}
func (w *wireless) Close() error {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
	return nil
}
func (w *wireless) LocalAddr() net.Addr              { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5060} }
func (w *wireless) SetDeadline(time.Time) error      { return nil }
func (w *wireless) SetReadDeadline(time.Time) error  { return nil }
func (w *wireless) SetWriteDeadline(time.Time) error { return nil }

// rig is a server on a wireless, with a caller and a callee.
type rig struct {
	s              *Server
	w              *wireless
	caller, callee netip.AddrPort
	in, out        transport.Flow
}

func newRig(tb testing.TB, s *Server) *rig {
	tb.Helper()
	g := &rig{
		s: s, w: newWireless(),
		caller: netip.MustParseAddrPort("192.0.2.10:5060"), callee: netip.MustParseAddrPort("192.0.2.20:5060"),
	}
	s.Listen = []string{"udp:192.0.2.1:5060"}
	s.Net, s.Drain, s.Logger = g.w, -1, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-ran:
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		cancel()
		<-ran
	})
	var err error
	g.in, err = s.trs.FlowTo(transport.Addr{Proto: transport.UDP, AddrPort: g.caller}, transport.Flow{})
	if err != nil {
		tb.Fatal(err)
	}
	g.out, _ = s.trs.FlowTo(transport.Addr{Proto: transport.UDP, AddrPort: g.callee}, transport.Flow{})
	return g
}

func (g *rig) receive(tb testing.TB, f transport.Flow, text []byte) {
	m, err := sip.Parse(text)
	if err != nil {
		tb.Fatal(err, string(text))
	}
	receiver{g.s}.ServeMessage(m, f)
}

// answer makes the callee's response to what it was sent last, by cutting lines: the callee is not what is measured.
func (g *rig) answer(line, extra string) []byte {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + line + "\r\n")
	for l := range strings.SplitSeq(string(g.w.sent[g.callee]), "\r\n") {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "To":
			b.WriteString(l + ";tag=callee\r\n")
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			b.WriteString(l + "\r\n")
		}
	}
	b.WriteString(extra)
	return []byte(b.String())
}

const sdp = "v=0\r\no=caller 53655765 2353687637 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"

func inviteText(n int) []byte {
	return fmt.Appendf(nil, "INVITE sip:user000001@192.0.2.1:5060 SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-%d-1\r\n"+
		"From: \"caller\" <sip:caller@192.0.2.10:5060>;tag=c%d\r\n"+
		"To: <sip:user000001@192.0.2.1:5060>\r\n"+
		"Call-ID: %d@192.0.2.10\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@192.0.2.10:5060>\r\nMax-Forwards: 70\r\n"+
		"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nSupported: replaces\r\nUser-Agent: bench\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", n, n, n, len(sdp), sdp)
}

func byeText(n int, method string) []byte {
	return fmt.Appendf(nil, "%s sip:callee@192.0.2.20:5060 SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-%d-%s\r\n"+
		"From: \"caller\" <sip:caller@192.0.2.10:5060>;tag=c%d\r\nTo: <sip:user000001@192.0.2.1:5060>;tag=callee\r\n"+
		"Call-ID: %d@192.0.2.10\r\nCSeq: 2 %s\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", method, n, method, n, n, method)
}

func relay(target netip.AddrPort) Handler {
	to := Target{Next: transport.Addr{Proto: transport.UDP, AddrPort: target}}
	return HandlerFunc(func(ctx context.Context, r *Request) *sip.Response { return r.Forward(ctx, to) })
}

// BenchmarkCall is a whole call without system calls: INVITE 180 200 ACK BYE 200 (six messages in, seven out). engine-ns/call is the
// time spent in the server, without that of the test's callee, which also takes some 30 of the allocations.
func BenchmarkCall(b *testing.B) {
	g := newRig(b, &Server{Handler: relay(netip.MustParseAddrPort("192.0.2.20:5060"))})
	var engine time.Duration
	receive := func(f transport.Flow, text []byte) {
		start := time.Now()
		g.receive(b, f, text)
		engine += time.Since(start)
	}
	b.ReportAllocs()
	for i := range b.N {
		receive(g.in, inviteText(i))
		ringing, ok := g.answer("180 Ringing", "Content-Length: 0\r\n\r\n"), g.answer("200 OK", "Contact: <sip:callee@192.0.2.20:5060>\r\nContent-Length: 0\r\n\r\n")
		receive(g.out, ringing)
		receive(g.out, ok)
		receive(g.in, byeText(i, "ACK"))
		receive(g.in, byeText(i, "BYE"))
		receive(g.out, g.answer("200 OK", "Content-Length: 0\r\n\r\n"))
	}
	b.ReportMetric(float64(engine.Nanoseconds())/float64(b.N), "engine-ns/call")
	if n := g.s.Stats().Requests; n != uint64(2*b.N) {
		b.Fatalf("%d requests of %d", n, 2*b.N)
	}
}
