package sipproxy

import (
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
)

// BenchmarkRinging reports what a ringing call holds: heap and stacks, after a collection.
func BenchmarkRinging(b *testing.B) {
	g := newRig(b, &Server{Handler: relay(netip.MustParseAddrPort("192.0.2.20:5060"))})
	before := inUse()
	for i := range b.N {
		g.receive(b, g.in, inviteText(i))
		g.receive(b, g.out, g.answer("180 Ringing", "Content-Length: 0\r\n\r\n"))
	}
	after := inUse()
	b.ReportMetric(float64(after.heap-before.heap)/float64(b.N), "heap-B/call")
	b.ReportMetric(float64(after.stack-before.stack)/float64(b.N), "stack-B/call")
	if p := os.Getenv("HEAPPROFILE"); p != "" {
		f, _ := os.Create(p)
		_ = pprof.Lookup("heap").WriteTo(f, 0)
		_ = f.Close()
	}
}

type used struct{ heap, stack uint64 }

func inUse() used {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return used{m.HeapAlloc, m.StackInuse}
}
