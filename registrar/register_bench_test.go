package registrar_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// feed is a Net whose one datagram socket reads what next makes, as often as it is told, and counts what is written: a server on it
// works at full speed without system calls.
type feed struct {
	transport.Net
	next   func(b []byte) []byte
	work   chan int
	served chan struct{}
	closed chan struct{}

	reading sync.Mutex // the engine may take a second reader
	left    int

	writing         sync.Mutex
	written, target int
	last            []byte
}

func newFeed(next func([]byte) []byte) *feed {
	return &feed{Net: transport.SystemNet{}, next: next, work: make(chan int), served: make(chan struct{}), closed: make(chan struct{})}
}

func (f *feed) ListenPacket(context.Context, string, string) (net.PacketConn, error) { return f, nil }

func (f *feed) ReadFrom(b []byte) (int, net.Addr, error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	if f.left == 0 {
		select {
		case f.left = <-f.work:
		case <-f.closed:
			return 0, nil, net.ErrClosed
		}
	}
	f.left--
	return len(f.next(b[:0])), phoneAddr, nil
}

var phoneAddr = &net.UDPAddr{IP: net.IPv4(192, 0, 2, 20).To4(), Port: 5060}

func (f *feed) WriteTo(b []byte, _ net.Addr) (int, error) {
	f.writing.Lock()
	f.written++
	f.last = append(f.last[:0], b...)
	done := f.written == f.target
	f.writing.Unlock()
	if done {
		f.served <- struct{}{}
	}
	return len(b), nil
}

func (f *feed) Close() error {
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	return nil
}

func (f *feed) LocalAddr() net.Addr              { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5060} }
func (f *feed) SetDeadline(time.Time) error      { return nil }
func (f *feed) SetReadDeadline(time.Time) error  { return nil }
func (f *feed) SetWriteDeadline(time.Time) error { return nil }

// run lets the server read n datagrams and waits for as many answers.
func (f *feed) run(n int) {
	f.writing.Lock()
	f.target = f.written + n
	f.writing.Unlock()
	f.work <- n
	<-f.served
}

func (f *feed) serve(tb testing.TB, h sipproxy.Handler) *sipproxy.Server { return f.serveOn(tb, f, h) }

func (f *feed) serveOn(tb testing.TB, n transport.Net, h sipproxy.Handler) *sipproxy.Server {
	tb.Helper()
	s := &sipproxy.Server{Listen: []string{"udp:192.0.2.1:5060"}, Names: []string{"example.com"}, Net: n, Drain: -1, Runner: sipproxy.Coroutines,
		Logger: slog.New(slog.DiscardHandler), Handler: h, Accept: registerStateful}
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
	return s
}

// registerStateful keeps the retransmissions of other answers out of what is written.
func registerStateful(r *sipproxy.Request) sipproxy.Mode {
	if r.Method == sip.REGISTER {
		return sipproxy.Stateful
	}
	return sipproxy.Stateless
}

// registerText is a REGISTER as SIPp's scenario of the whole-proxy benchmark sends it.
func registerText(b []byte, user, n int) []byte {
	at := strconv.AppendInt(nil, int64(user), 10)
	b = append(b, "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK-"...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(append(b, "-1\r\nFrom: <sip:user"...), at...)
	b = strconv.AppendInt(append(b, "@example.com>;tag="...), int64(n), 10)
	b = append(append(b, "\r\nTo: <sip:user"...), at...)
	b = strconv.AppendInt(append(b, "@example.com>\r\nCall-ID: "...), int64(n), 10)
	b = append(b, "-4711@192.0.2.20\r\nCSeq: 1 REGISTER\r\nContact: <sip:user"...)
	b = append(b, at...)
	return append(b, "@192.0.2.20:5060>\r\nMax-Forwards: 70\r\nExpires: 3600\r\nUser-Agent: bench\r\nContent-Length: 0\r\n\r\n"...)
}

const benchUsers = 10_000

// BenchmarkRegister is a REGISTER in and its 200 out, without system calls but the journal's.
func BenchmarkRegister(b *testing.B) {
	bench := func(b *testing.B, store registrar.Store) {
		defer store.Close()
		n := 0
		f := newFeed(func(buf []byte) []byte { n++; return registerText(buf, n%benchUsers, n) })
		g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
		f.serve(b, g)
		f.run(benchUsers)
		b.ReportAllocs()
		b.ResetTimer()
		f.run(b.N)
		b.StopTimer()
		if s := g.Stats(); s.Registered != uint64(benchUsers+b.N) {
			b.Fatalf("%+v, last %s", s, f.last)
		}
	}
	b.Run("memory", func(b *testing.B) { bench(b, new(registrar.Memory)) })
	b.Run("journal", func(b *testing.B) {
		j, err := registrar.OpenJournal(b.TempDir(), registrar.JournalConfig{})
		if err != nil {
			b.Fatal(err)
		}
		bench(b, j)
	})
}

// BenchmarkEngineOnly is what the engine takes of BenchmarkRegister: the handler answers 200 at once.
func BenchmarkEngineOnly(b *testing.B) {
	n := 0
	f := newFeed(func(buf []byte) []byte { n++; return registerText(buf, n%benchUsers, n) })
	f.serve(b, sipproxy.HandlerFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response { return r.Reply(200) }))
	f.run(benchUsers)
	b.ReportAllocs()
	b.ResetTimer()
	f.run(b.N)
}

// BenchmarkLookup is from Request-URI to targets.
func BenchmarkLookup(b *testing.B) {
	store := new(registrar.Memory)
	defer store.Close()
	n := 0
	f := newFeed(func(buf []byte) []byte { n++; return registerText(buf, n%benchUsers, n) })
	g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}}
	var req *sipproxy.Request
	f.serve(b, sipproxy.HandlerFunc(func(c context.Context, r *sipproxy.Request) *sip.Response {
		req = r
		return g.ServeSIP(c, r)
	}))
	f.run(benchUsers)
	uris := make([]sip.URI, benchUsers)
	for i := range uris {
		uris[i] = sip.MustParseURI(fmt.Sprintf("sip:user%d@example.com", i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if t, res := g.Lookup(context.Background(), req, uris[i%benchUsers]); res != nil || len(t) != 1 {
			b.Fatal(res)
		}
	}
}
