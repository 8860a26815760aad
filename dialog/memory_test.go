package dialog

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// invitation is a received INVITE of some 900 bytes, and its 200.
func invitation(tb testing.TB, n int) (*sipproxy.Request, *sip.Response) {
	tb.Helper()
	sdp := "v=0\r\no=alice 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 18 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
	text := fmt.Sprintf("INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: \"Alice\" <sip:alice@example.com>;tag=tag%d\r\nTo: <sip:bob@example.com>\r\nCall-ID: %08d-9dcb-4f9a-a1a8-5a1d37eb6b6f@192.0.2.10\r\nCSeq: 1 INVITE\r\n"+
		"Contact: <sip:alice@192.0.2.10:5060;transport=udp;ob>\r\nAllow: INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO\r\n"+
		"User-Agent: a phone of some make, version 1.2.3\r\nSupported: replaces, timer\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", n, n, n, len(sdp), sdp)
	m, err := sip.ParseRequest(text)
	require.NoError(tb, err)
	at := transport.Addr{Proto: transport.UDP, AddrPort: netip.MustParseAddrPort("192.0.2.10:5060")}
	r := &sipproxy.Request{Request: m, URI: m.URI, Source: at, Local: at}
	res := sip.NewResponse(m, 200, "", "callee")
	res.Add("Contact", "<sip:bob@192.0.2.20:5060>")
	return r, res
}

// follow takes a call as far as its 2xx.
func follow(ctx context.Context, t *Tracker, r *sipproxy.Request, res *sip.Response) *dialog {
	t.held.Add(1)
	t.count.pending.Add(1)
	a := t.begin(r)
	a.finish(ctx, r, res)
	if len(a.call.dialogs) == 0 {
		return nil // it has ended meanwhile
	}
	return a.call.dialogs[0]
}

// TestMemory: a live dialog keeps nothing of its messages.
func TestMemory(t *testing.T) {
	const calls = 5000
	tr := &Tracker{}
	tr.setup()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range calls {
		r, res := invitation(t, n)
		follow(t.Context(), tr, r, res)
	}
	each := (int64(heap()) - int64(before)) / calls
	t.Logf("%d bytes a dialog", each)
	require.Less(t, each, int64(1400))
	require.EqualValues(t, calls, tr.held.Load())
	for d := range tr.All() {
		require.NotZero(t, d.Expires)
	}
}

// BenchmarkDialog is what following one call costs, without events.
func BenchmarkDialog(b *testing.B) {
	tr := &Tracker{}
	tr.setup()
	r, res := invitation(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		d := follow(b.Context(), tr, r, res)
		tr.stop(d, Caller, "BYE", 200, tr.now(), nil)
	}
}

// TestEventsInOrder: while OnEvent is busy with START, the STOP waits for it, and nobody waits for the STOP.
func TestEventsInOrder(t *testing.T) {
	started, goOn := make(chan bool), make(chan bool)
	var kinds []Kind
	tr := &Tracker{OnEvent: func(e Event) {
		if e.Kind == Start {
			close(started)
			<-goOn
		}
		kinds = append(kinds, e.Kind)
	}}
	tr.setup()
	r, res := invitation(t, 1)
	done := make(chan bool)
	go func() { follow(context.Background(), tr, r, res); close(done) }()
	<-started
	id := tr.ByCallID(r.CallID())[0].ID
	d, _ := tr.shard(id.CallID).party(id.CallID, id.CallerTag, id.CalleeTag)
	require.True(t, tr.stop(d, Callee, "BYE", 200, tr.now()+instant(time.Second), nil))
	require.False(t, tr.stop(d, Caller, "BYE", 200, tr.now(), nil))
	close(goOn)
	<-done
	require.Equal(t, []Kind{Start, Stop}, kinds)
}
