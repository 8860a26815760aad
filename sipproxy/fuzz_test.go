package sipproxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// island is a Net that keeps all that is sent and knows nobody: no names, no connections.
type island struct {
	*wireless
	mu  sync.Mutex
	log []sentTo
}

type sentTo struct {
	to   netip.AddrPort
	text string
}

var errIsland = errors.New("nobody is there")

func (n *island) ListenPacket(context.Context, string, string) (net.PacketConn, error) { return n, nil }
func (n *island) Listen(context.Context, string, string) (net.Listener, error)         { return nil, errIsland }
func (n *island) Dial(context.Context, string, string, string) (net.Conn, error) {
	return nil, errIsland
}
func (n *island) LookupNAPTR(context.Context, string) ([]transport.NAPTR, time.Duration, error) {
	return nil, time.Hour, nil
}
func (n *island) LookupSRV(context.Context, string) ([]transport.SRV, time.Duration, error) {
	return nil, time.Hour, nil
}
func (n *island) LookupIP(_ context.Context, name string) ([]netip.Addr, time.Duration, error) {
	if strings.HasPrefix(name, "b") {
		return []netip.Addr{netip.MustParseAddr("192.0.2.20")}, time.Hour, nil
	}
	return nil, time.Hour, nil
}

func (n *island) WriteTo(b []byte, a net.Addr) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, sentTo{a.(*net.UDPAddr).AddrPort(), string(b)})
	return len(b), nil
}

// take gives what was sent since the last call.
func (n *island) take() []sentTo {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.log
	n.log = nil
	return l
}

// leftBehind is a log handler that notes whether handlers outlived their server.
type leftBehind struct{ atomic.Bool }

func (l *leftBehind) Enabled(context.Context, slog.Level) bool { return true }
func (l *leftBehind) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *leftBehind) WithGroup(string) slog.Handler            { return l }
func (l *leftBehind) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "still run") {
		l.Store(true)
	}
	return nil
}

// curious does a bit of everything, chosen by the first byte of the fuzzer.
func curious(how byte) HandlerFunc {
	return func(ctx context.Context, r *Request) *sip.Response {
		if r.CallID() == goodID {
			return r.Forward(ctx, Target{URI: sip.MustParseURI("sip:b@192.0.2.20")})
		}
		if how&1 != 0 {
			r.OnBranch(func(b *Branch) { b.Request.Set("Subject", "x") })
			r.OnSend(func(b *Branch) { b.Request.Prepend("Record-Route", "<sip:192.0.2.1;lr>") })
		}
		if how&2 != 0 {
			r.OnResponse(func(b *Branch, res *sip.Response) {
				res.Set("X-Seen", "1")
				for c, err := range res.Contacts() {
					if err == nil && res.Code/100 == 3 {
						b.Fork(Target{URI: c.URI})
					}
				}
			})
		}
		switch how >> 2 & 3 {
		case 0:
			return r.Forward(ctx)
		case 1:
			return r.Reply(404)
		case 2:
			return r.ForwardInTurn(ctx, Target{URI: r.URI.WithHostPort("192.0.2.20")}, Target{URI: r.URI.WithHostPort("192.0.2.20:5070"), Q: 1})
		}
		return r.Forward(ctx, Target{URI: r.URI.WithHostPort("192.0.2.20"), Path: []sip.URI{r.URI}}, Target{})
	}
}

const goodID = "the-next-good-request"

// between the messages of one fuzz input.
var between = []byte("\n--\n")

// FuzzServer takes messages through the whole engine: parse, validate, match, route, handler, forward, respond, print. What it sends parses again,
// nothing panics, and the next good call is served.
func FuzzServer(f *testing.F) {
	files, err := filepath.Glob("../sip/testdata/torture/*/*.dat")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for i, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(byte(i), b)
		f.Add(byte(i*16+7), append(append(inviteText(1), between...), b...))
	}
	response := "SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKy\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:e@f>\r\nContent-Length: 0\r\n\r\n"
	for how := range byte(64) {
		f.Add(how, bytes.Join([][]byte{inviteText(1), []byte(response), inviteText(1), byeText(1, "BYE"), byeText(1, "ACK"),
			bytes.ReplaceAll(inviteText(1), []byte("INVITE"), []byte("CANCEL"))}, between))
	}
	f.Fuzz(func(t *testing.T, how byte, in []byte) {
		n := &island{wireless: newWireless()}
		var left leftBehind
		s := &Server{
			Listen: []string{"udp:192.0.2.1:5060"}, Net: n, Drain: -1, Logger: slog.New(&left), Handler: curious(how), Names: []string{"example.com"},
			Accept: func(*Request) Mode { return Mode(how >> 4 & 1) }, // stateful, or not
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		<-s.Ready()
		defer func() {
			cancel()
			require.NoError(t, <-ran)
			require.False(t, left.Load(), "handlers were left behind")
		}()
		flow := func(a string) transport.Flow {
			fl, err := s.trs.FlowTo(transport.Addr{Proto: transport.UDP, AddrPort: netip.MustParseAddrPort(a)}, transport.Flow{})
			require.NoError(t, err)
			return fl
		}
		caller, callee := flow("192.0.2.10:5060"), flow("192.0.2.20:5060")
		receive := func(fl transport.Flow, b []byte) {
			m, err := sip.Parse(b)
			if err != nil {
				return
			}
			receiver{s}.ServeMessage(m, fl)
		}
		for _, piece := range bytes.Split(in, between) {
			receive(caller, piece)
			for range 3 { // and what the other side makes of what it gets
				for i, x := range n.take() {
					fuzzAnswer(t, x, func(b []byte) { receive(callee, b) }, how+byte(i))
				}
			}
		}
		require.Zero(t, s.Stats().Panics)
		goodCall(t, n, func(b []byte) { receive(caller, b) }, func(b []byte) { receive(callee, b) })
	})
}

// fuzzAnswer checks what was sent and answers requests.
func fuzzAnswer(t *testing.T, x sentTo, receive func([]byte), how byte) {
	m, err := sip.Parse([]byte(x.text))
	require.NoError(t, err, x.text)
	req, ok := m.(*sip.Request)
	if !ok {
		require.True(t, m.Head().Has("Via"), x.text)
		return
	}
	require.Nil(t, req.Valid(sip.Limits{MessageBytes: 1 << 20, HeaderBytes: 1 << 20, Fields: 1000, Vias: 100, URIBytes: 1 << 20}), x.text)
	if req.Method == sip.ACK {
		return
	}
	codes := []int{180, 200, 302, 401, 486, 503, 603, 100}
	res := sip.NewResponse(req, codes[how%8], "", "callee")
	res.Set("Contact", "<sip:b@192.0.2.20:5070>")
	receive(res.AppendTo(nil))
}

// goodCall is an INVITE with its 200 through the server, whatever came before.
func goodCall(t *testing.T, n *island, caller, callee func([]byte)) {
	text := "INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKgood\r\nMax-Forwards: 70\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: " + goodID + "\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.10>\r\nContent-Length: 0\r\n\r\n"
	n.take()
	caller([]byte(text))
	out := awaitMessage(t, n, "INVITE sip:b@192.0.2.20")
	req, err := sip.ParseRequest(out)
	require.NoError(t, err)
	callee(sip.NewResponse(req, 200, "", "good").AppendTo(nil))
	awaitMessage(t, n, "SIP/2.0 200")
}

// awaitMessage waits for a message of the good call: DNS answers come by other goroutines.
func awaitMessage(t *testing.T, n *island, start string) string {
	for range 60_000 {
		for _, x := range n.take() {
			if strings.HasPrefix(x.text, start) && strings.Contains(x.text, goodID) {
				return x.text
			}
		}
		time.Sleep(time.Millisecond)
	}
	require.Fail(t, "not served: "+start)
	return ""
}
