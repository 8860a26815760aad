package sipproxy

import (
	"context"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// Request and text are let go with the final response. A refused INVITE whose ACK never comes keeps its transaction for another 32 s, and a flood
// of them must not keep more than that.
func TestFinishedLetsGo(t *testing.T) {
	for name, answer := range map[string]string{"refused here": "", "refused there": "486 Busy Here", "answered": "200 OK"} {
		t.Run(name, func(t *testing.T) {
			var request weak.Pointer[Request]
			forward := relay(netip.MustParseAddrPort("192.0.2.20:5060"))
			g := newRig(t, &Server{Handler: HandlerFunc(func(ctx context.Context, r *Request) *sip.Response {
				request = weak.Make(r)
				if answer == "" {
					return r.Reply(404)
				}
				return forward.ServeSIP(ctx, r)
			})})
			g.receive(t, g.in, inviteText(1))
			if answer != "" {
				require.NotNil(t, request.Value())
				g.receive(t, g.out, g.answer(answer, "Content-Length: 0\r\n\r\n"))
			}
			g.receive(t, g.in, inviteText(1)) // no reader on whose stack the last one still lies
			runtime.GC()
			runtime.GC()
			require.Nil(t, request.Value(), "the request is held by what is left of its transactions")
			require.Equal(t, 1, g.s.Stats().Transactions.Servers, "whose 32 s are not over")
		})
	}
}

// Many Routes of ours cost what their length does, not its square: each used to be taken off by itself, with a copy of those behind it.
func TestManyOwnRoutes(t *testing.T) {
	g := newRig(t, &Server{Handler: relay(netip.MustParseAddrPort("192.0.2.20:5060"))})
	routes := "Route: <sip:192.0.2.1:5060;lr>" + strings.Repeat(",<sip:192.0.2.1:5060;lr>", 1000) + ",<sip:192.0.2.20;lr>\r\n"
	text := strings.Replace(string(inviteText(1)), "Max-Forwards", routes+"Max-Forwards", 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g.receive(t, g.in, []byte(text))
	runtime.ReadMemStats(&after)
	sent, err := sip.ParseRequest(string(g.w.sent[g.callee]))
	require.NoError(t, err)
	require.Equal(t, "<sip:192.0.2.20;lr>", sent.Get("Route"))
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "bytes allocated for a request of %d", len(text))
}

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
