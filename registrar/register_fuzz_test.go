package registrar_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/stretchr/testify/require"
)

// probe is answered whatever came before it, so that nothing waits for an answer that does not come.
const probe = "OPTIONS sip:probe@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKprobe\r\nMax-Forwards: 70\r\n" +
	"From: <sip:probe@example.com>;tag=1\r\nTo: <sip:probe@example.com>\r\nCall-ID: probe\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

func snapshot(s registrar.Store) string {
	var b strings.Builder
	for aor, list := range s.Scan(context.Background()) {
		b.WriteString(string(aor))
		b.WriteString(string(registrar.AppendBindings(nil, list)))
	}
	return b.String()
}

// FuzzRegister: whatever comes, there is at most one answer, no panic, and a REGISTER that is refused changes no binding.
func FuzzRegister(f *testing.F) {
	f.Add(registerText(nil, 1, 1))
	names, _ := filepath.Glob("../sip/testdata/torture/rfc4475/*.dat")
	for _, n := range names {
		text, err := os.ReadFile(n)
		require.NoError(f, err)
		f.Add(text)
	}
	seed := func(fields string) {
		f.Add([]byte(strings.Replace(string(registerText(nil, 7, 7)), "Max-Forwards: 70", fields, 1)))
	}
	for _, fields := range []string{"Contact: *", "Contact: *\r\nExpires: 0", "Contact: <sip:a@b>;q=0.7;expires=0, <sip:a@c>", "Path: <sip:a;lr;ob>, <sip:b;lr>\r\nSupported: path, outbound, gruu",
		"Contact: <sip:a@b>;+sip.instance=\"<urn:x>\";reg-id=1\r\nSupported: outbound, gruu", "Require: path, x", "Contact: sip:a@b;methods=\"A,B\"", "To: <sip:%00@example.com>"} {
		seed(fields)
	}

	store := new(registrar.Memory)
	g := &registrar.Registrar{Store: store, Domains: []string{"example.com"}, GRUU: true}
	var panicked atomic.Bool
	h := sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) (res *sip.Response) {
		defer func() {
			if v := recover(); v != nil {
				panicked.Store(true)
				panic(v)
			}
		}()
		if r.Method != sip.REGISTER {
			if r.CallID() != "probe" {
				_, res = g.Lookup(ctx, r, r.URI)
				if res != nil {
					return res
				}
				return g.Redirect(ctx, r)
			}
			return r.Reply(200)
		}
		before := snapshot(store)
		res = g.ServeSIP(ctx, r)
		if res.Code != 200 && snapshot(store) != before {
			panic("refused and changed")
		}
		return res
	})
	w := newOneByOne()
	s := w.serve(f, h)
	n, requests, finals := 0, 0, 0
	f.Fuzz(func(t *testing.T, text []byte) {
		n++
		panicked.Store(false)
		answers := w.exchange(append([]byte(nil), text...), []byte(strings.Replace(probe, "z9hG4bKprobe", "z9hG4bKprobe"+string(rune('a'+n%26))+strings.Repeat("x", n/26%500), 1)))
		require.False(t, panicked.Load())
		if m, err := sip.Parse(text); err == nil {
			if r, ok := m.(*sip.Request); ok && r.Method != sip.ACK {
				requests++
			}
		}
		for _, a := range answers {
			res, err := sip.ParseResponse(a)
			require.NoError(t, err, a)
			if res.CallID() != "probe" {
				finals++
				if res.Code == 200 {
					require.Nil(t, res.Valid(sip.Limits{}), a)
				}
			}
		}
		require.LessOrEqual(t, finals, requests, "%q", answers) // over all: on a busy machine a second reader may be ahead of the first
		require.Zero(t, s.Stats().Panics)
	})
}

// oneByOne is a feed for tests: the server reads one datagram, then another, and what it wrote meanwhile is the answer to both.
type oneByOne struct {
	*feed
	in  chan []byte
	out []string
}

func newOneByOne() *oneByOne {
	w := &oneByOne{feed: newFeed(nil), in: make(chan []byte)}
	return w
}

func (w *oneByOne) serve(tb testing.TB, h sipproxy.Handler) *sipproxy.Server {
	return w.feed.serveOn(tb, w, h)
}

func (w *oneByOne) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return w, nil
}

func (w *oneByOne) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case text := <-w.in:
		return copy(b, text), phoneAddr, nil
	case <-w.closed:
		return 0, nil, net.ErrClosed
	}
}

func (w *oneByOne) WriteTo(b []byte, _ net.Addr) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.out = append(w.out, string(b))
	return len(b), nil
}

// exchange returns what was written for text and for probe. The reader takes the datagram behind probe only when it is done with it.
func (w *oneByOne) exchange(text, probe []byte) []string {
	w.writing.Lock()
	w.out = nil
	w.writing.Unlock()
	w.in <- text
	w.in <- probe
	w.in <- nil
	w.in <- nil
	w.writing.Lock()
	defer w.writing.Unlock()
	return w.out
}
