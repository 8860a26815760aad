package sipproxy

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// coldBytes is more than the caches hold.
const coldBytes = 64 << 20

// forget makes the processor forget what a message needs, as others do who use it between two messages.
func forget(b []byte) {
	for i := 0; i < len(b); i += 64 {
		b[i]++
	}
}

// BenchmarkColdCall is BenchmarkCall as a lightly loaded proxy sees it: between two messages others have used the processor, and what
// counts is how much code and memory a message touches. The figure of a message is the median.
func BenchmarkColdCall(b *testing.B) {
	g := newRig(b, &Server{Handler: relay(netip.MustParseAddrPort("192.0.2.20:5060"))})
	junk := make([]byte, coldBytes)
	names := []string{"INVITE", "180", "200", "ACK", "BYE", "200-BYE"}
	times := make([][]time.Duration, len(names))
	receive := func(kind int, in bool, text []byte) {
		f := g.out
		if in {
			f = g.in
		}
		forget(junk)
		start := time.Now()
		g.receive(b, f, text)
		times[kind] = append(times[kind], time.Since(start))
	}
	for i := range b.N {
		receive(0, true, inviteText(i))
		ringing, ok := g.answer("180 Ringing", "Content-Length: 0\r\n\r\n"), g.answer("200 OK", "Contact: <sip:callee@192.0.2.20:5060>\r\nContent-Length: 0\r\n\r\n")
		receive(1, false, ringing)
		receive(2, false, ok)
		receive(3, true, byeText(i, "ACK"))
		receive(4, true, byeText(i, "BYE"))
		receive(5, false, g.answer("200 OK", "Content-Length: 0\r\n\r\n"))
	}
	var sum time.Duration
	for i, name := range names {
		slices.Sort(times[i])
		m := times[i][len(times[i])/2]
		sum += m
		b.ReportMetric(float64(m.Nanoseconds())/1000, name+"-us")
	}
	b.ReportMetric(float64(sum.Nanoseconds())/1000, "call-us")
}
