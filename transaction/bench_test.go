package transaction

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// inviteText is an INVITE as a phone sends it, about 900 bytes.
func inviteText(branch string) string {
	sdp := lines("v=0", "o=alice 2890844526 2890844526 IN IP4 192.0.2.10", "s=-", "c=IN IP4 192.0.2.10", "t=0 0",
		"m=audio 49170 RTP/AVP 0 8 97 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:97 iLBC/8000",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=sendrecv")
	return lines(
		"INVITE sip:bob@biloxi.example;user=phone SIP/2.0",
		"Via: SIP/2.0/UDP 192.0.2.10:5060;rport=5060;received=198.51.100.7;branch="+branch,
		"Max-Forwards: 70",
		"From: \"Alice\" <sip:alice@atlanta.example>;tag=9fxced76sl",
		"To: \"Bob\" <sip:bob@biloxi.example>",
		"Call-ID: 3848276298220188511@atlanta.example",
		"CSeq: 1 INVITE",
		"Contact: <sip:alice@192.0.2.10:5060;transport=udp>",
		"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY",
		"Supported: replaces, 100rel, timer",
		"User-Agent: Phone 1.0",
		"Content-Type: application/sdp",
		fmt.Sprintf("Content-Length: %d", len(sdp)),
		"",
	) + sdp
}

func mustRequest(b testing.TB, text string) *sip.Request {
	r, err := sip.ParseRequest(text)
	require.NoError(b, err)
	return r
}

// drop forgets a transaction, so that a benchmark can use its messages again.
func (t *Server) drop() {
	s := t.layer.shard(t.hash)
	s.Lock()
	t.settle(s, 0, t.m.end(0))
	s.Unlock()
}

func (c *Client) drop() {
	s := c.layer.shard(c.hash)
	s.Lock()
	c.settle(s, 0, c.m.end(0))
	s.Unlock()
}

type nobody struct{}

func (nobody) Response(*Client, *sip.Response, transport.Flow) {}
func (nobody) Ended(*Client, error)                            {}
func (nobody) Unsent(*Server, error)                           {}

// BenchmarkInvite is what one call costs the layer of a stateful proxy: match,
// server transaction, 100, client transaction, 180 and 200 through both. Parsing
// and printing are not in it, but the clock, the table and the wheel are.
func BenchmarkInvite(b *testing.B) {
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	defer l.Close()
	in := mustRequest(b, inviteText("z9hG4bKnashds8"))
	out := mustRequest(b, inviteText("z9hG4bKk7w2xq9pdmf4h.0"))
	r100, r180, r200 := reply(in, 100), reply(in, 180), reply(in, 200)
	u180, u200 := reply(out, 180), reply(out, 200)
	b.ReportAllocs()
	for b.Loop() {
		l.MatchRequest(in, transport.Flow{})
		s, _ := l.NewServer(in, transport.Flow{}, nobody{})
		_ = s.Respond(r100)
		c, _ := l.Request(out, transport.Flow{}, nobody{})
		l.MatchResponse(u180, transport.Flow{})
		_ = s.Respond(r180)
		l.MatchResponse(u200, transport.Flow{})
		_ = s.Respond(r200)
		s.drop()
		c.drop()
	}
}

// BenchmarkOptions is a non-INVITE transaction through both sides, over UDP.
func BenchmarkOptions(b *testing.B) {
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	defer l.Close()
	in, out := request(b, "OPTIONS", "z9hG4bKnashds8"), request(b, "OPTIONS", "z9hG4bKk7w2xq9pdmf4h.0")
	r200, u200 := reply(in, 200), reply(out, 200)
	b.ReportAllocs()
	for b.Loop() {
		l.MatchRequest(in, transport.Flow{})
		s, _ := l.NewServer(in, transport.Flow{}, nobody{})
		c, _ := l.Request(out, transport.Flow{}, nobody{})
		l.MatchResponse(u200, transport.Flow{})
		_ = s.Respond(r200)
		s.drop()
		c.drop()
	}
}

// fill opens n server transactions.
func fill(b testing.TB, l *Layer, n int) {
	for i := range n {
		_, err := l.NewServer(mustRequest(b, inviteText(fmt.Sprintf("z9hG4bKfill%d", i))), transport.Flow{}, nil)
		require.NoError(b, err)
	}
}

// BenchmarkMatch looks requests and responses up among 20,000.
func BenchmarkMatch(b *testing.B) {
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	defer l.Close()
	fill(b, l, 20_000)
	copied := mustRequest(b, inviteText("z9hG4bKfill777"))
	fresh := mustRequest(b, inviteText("z9hG4bKfresh"))
	req := mustRequest(b, inviteText("z9hG4bKclient"))
	_, err := l.Request(req, transport.Flow{}, nil)
	require.NoError(b, err)
	res := reply(req, 180)
	b.Run("copy", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.MatchRequest(copied, transport.Flow{})
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.MatchRequest(fresh, transport.Flow{})
		}
	})
	b.Run("response", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.MatchResponse(res, transport.Flow{})
		}
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// finished opens and answers n transactions and returns the bytes each still holds.
func finished(b testing.TB, n, code int, method string) float64 {
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	before := heap()
	for i := range n {
		text := inviteText(fmt.Sprintf("z9hG4bK%012d", i))
		req := mustRequest(b, strings.ReplaceAll(text, "INVITE", method))
		s, err := l.NewServer(req, transport.Flow{}, nobody{})
		require.NoError(b, err)
		_ = s.Respond(reply(req, 100))
		require.NoError(b, s.Respond(reply(req, code)))
	}
	per := float64(heap()-before) / float64(n)
	require.Equal(b, n, l.Stats().Servers)
	l.Close()
	return per
}

// finishedClients is the same for client transactions.
func finishedClients(b testing.TB, n, code int, method string) float64 {
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	before := heap()
	for i := range n {
		text := inviteText(fmt.Sprintf("z9hG4bK%012d", i))
		req := mustRequest(b, strings.ReplaceAll(text, "INVITE", method))
		_, err := l.Request(req, transport.Flow{}, nobody{})
		require.NoError(b, err)
		require.True(b, l.MatchResponse(reply(req, code), transport.Flow{}))
	}
	per := float64(heap()-before) / float64(n)
	require.Equal(b, n, l.Stats().Clients)
	l.Close()
	return per
}

// BenchmarkFinished reports the memory of a finished transaction over 100,000 of them.
func BenchmarkFinished(b *testing.B) {
	for _, tc := range []struct {
		method string
		code   int
	}{{"INVITE", 200}, {"INVITE", 486}, {"OPTIONS", 200}} {
		b.Run(fmt.Sprintf("%s-%d", tc.method, tc.code), func(b *testing.B) {
			for range b.N {
				b.ReportMetric(finished(b, 100_000, tc.code, tc.method), "B/server")
				b.ReportMetric(finishedClients(b, 100_000, tc.code, tc.method), "B/client")
			}
		})
	}
}

// TestFinishedMemory holds the goal of 1.2 KB for a finished transaction.
func TestFinishedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred thousand transactions: not in short mode")
	}
	for _, tc := range []struct {
		method string
		code   int
	}{{"INVITE", 200}, {"INVITE", 486}, {"OPTIONS", 200}} {
		require.Less(t, finished(t, 5000, tc.code, tc.method), 1200.0, "server %s %d", tc.method, tc.code)
		require.Less(t, finishedClients(t, 5000, tc.code, tc.method), 1200.0, "client %s %d", tc.method, tc.code)
	}
}

// TestAllocations holds what one transaction may allocate: itself, and the text a finished one keeps.
func TestAllocations(t *testing.T) {
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	defer l.Close()
	in := mustRequest(t, inviteText("z9hG4bKnashds8"))
	r180, r200 := reply(in, 180), reply(in, 200)
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		l.MatchRequest(in, transport.Flow{})
		s, _ := l.NewServer(in, transport.Flow{}, nobody{})
		_ = s.Respond(r180)
		_ = s.Respond(r200)
		s.drop()
	}), 3.0, "server: itself, the printed 180, its key")
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		c, _ := l.Request(in, transport.Flow{}, nobody{})
		l.MatchResponse(r180, transport.Flow{})
		l.MatchResponse(r200, transport.Flow{})
		c.drop()
	}), 2.0, "client: itself, its branch")
}

// BenchmarkCold is what the table costs a transaction whose predecessors have left the caches, as they have at a lightly loaded proxy: the oldest of 30,000
// is removed, a new one looked for and inserted.
func BenchmarkCold(b *testing.B) {
	const n = 30_000
	l := newLayer(Config{}, &fakeNetwork{quiet: true})
	defer l.Close()
	r := rand.New(rand.NewPCG(1, 1))
	all := make([]Client, n)
	insert := func(c *Client) {
		c.hash = r.Uint64()
		s := l.shard(c.hash)
		if s.client(c.hash, "", "") == nil {
			s.clients.insert(c.hash, c)
		}
	}
	for i := range all {
		insert(&all[i])
	}
	others := make([]byte, 2<<20)
	var d time.Duration
	for i := 0; b.Loop(); i++ {
		for j := 0; j < len(others); j += 64 {
			others[j]++
		}
		began := time.Now()
		c := &all[i*7919%n]
		l.shard(c.hash).clients.remove(c.hash, c)
		insert(c)
		d += time.Since(began)
	}
	b.ReportMetric(float64(d.Nanoseconds())/float64(b.N), "cold-ns/op")
}
