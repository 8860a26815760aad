package rtprelay

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// relayed sets up a call and answers with what receives alice's packets in the loop.
func relayed(t testing.TB, e *Embedded) (*relayPort, *phone, *phone) {
	alice, bob := newPhone(t, "127.0.0.11"), newPhone(t, "127.0.0.12")
	setCall(t, e, alice, bob)
	return e.find(callKey{"call", 0}, "f", 1).sides[0].rtp, alice, bob
}

func TestNoAllocationPerPacket(t *testing.T) {
	e := newRelay(t, nil)
	p, alice, _ := relayed(t, e)
	b := rtpPacket(0, 1, 0, 7, make([]byte, 160))
	from := alice.addr()
	l := e.set.loops[0]
	seq := uint16(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		seq++
		binary.BigEndian.PutUint16(b[2:], seq)
		l.mu.Lock()
		p.receive(b, from, l.now())
		l.mu.Unlock()
	}))
	require.NotZero(t, e.Counters().Relayed)
}

// BenchmarkPacket is one packet judged, counted and sent; reading it is not in it.
func BenchmarkPacket(b *testing.B) {
	e := newRelay(b, func(e *Embedded) { e.MaxRate = -1 })
	p, alice, _ := relayed(b, e)
	packet := rtpPacket(0, 1, 0, 7, make([]byte, 160))
	from, l := alice.addr(), e.set.loops[0]
	b.ReportAllocs()
	for b.Loop() {
		l.mu.Lock()
		p.receive(packet, from, 1)
		l.mu.Unlock()
	}
}

// BenchmarkJudge is the same without the system call: the other side is on hold.
func BenchmarkJudge(b *testing.B) {
	e := newRelay(b, func(e *Embedded) { e.MaxRate = -1 })
	p, alice, _ := relayed(b, e)
	p.side.session.sides[1].party.hold = true
	packet := rtpPacket(0, 1, 0, 7, make([]byte, 160))
	from, l := alice.addr(), e.set.loops[0]
	b.ReportAllocs()
	for b.Loop() {
		l.mu.Lock()
		p.receive(packet, from, 1)
		l.mu.Unlock()
	}
}

// BenchmarkCall sets up and ends a call.
func BenchmarkCall(b *testing.B) {
	e := newRelay(b, nil)
	sdp := audioSDP(netip.MustParseAddrPort("127.0.0.1:4000"))
	ctx := context.Background()
	p := Params{Ref: Ref{CallID: "call", FromTag: "f", ToTag: "t"}, SDP: sdp, Source: loopback}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Offer(ctx, p); err != nil {
			b.Fatal(err)
		}
		if _, err := e.Answer(ctx, p); err != nil {
			b.Fatal(err)
		}
		_ = e.Delete(ctx, p.Ref)
	}
}

// BenchmarkSessionMemory reports the heap that one answered session holds in this process; the kernel's sockets come on top.
func BenchmarkSessionMemory(b *testing.B) {
	sdp := audioSDP(netip.MustParseAddrPort("127.0.0.1:4000"))
	ctx := context.Background()
	for b.Loop() {
		e := newRelay(b, nil)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		const n = 1000
		for i := range n {
			p := Params{Ref: Ref{CallID: fmt.Sprint("call", i), FromTag: "f", ToTag: "t"}, SDP: sdp, Source: loopback}
			if _, err := e.Offer(ctx, p); err != nil {
				b.Fatal(err)
			}
			if _, err := e.Answer(ctx, p); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/session")
		_ = e.Close()
	}
}
