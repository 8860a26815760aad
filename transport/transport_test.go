package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// got is one message a recorder was handed.
type got struct {
	m sip.Message
	f Flow
}

func (g got) request() *sip.Request { q, _ := g.m.(*sip.Request); return q }

type unreachable struct {
	sent string
	to   Addr
	err  error
}

// A recorder is a Handler that passes on what it gets, after serve, when set.
type recorder struct {
	serve   func(m sip.Message, f Flow)
	msgs    chan got
	lost    chan unreachable
	stalled chan struct{}
}

func newRecorder() *recorder {
	return &recorder{msgs: make(chan got, 10000), lost: make(chan unreachable, 1000), stalled: make(chan struct{}, 100)}
}

func (r *recorder) ServeMessage(m sip.Message, f Flow) {
	if r.serve != nil {
		r.serve(m, f)
	}
	r.msgs <- got{m, f}
}

func (r *recorder) ServeUnreachable(sent []byte, to Addr, err error) {
	r.lost <- unreachable{string(sent), to, err}
}

func (r *recorder) Stalled() { r.stalled <- struct{}{} }

// next waits for a message. The bound is for tests on real sockets that would hang otherwise.
func (r *recorder) next(t testing.TB) got {
	t.Helper()
	return receive(t, r.msgs)
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing came")
		panic("not reached")
	}
}

// A sinkRecorder is a Sink that passes on what it is told.
type sinkRecorder struct{ errs chan error }

func newSink() *sinkRecorder { return &sinkRecorder{make(chan error, 10)} }

func (s *sinkRecorder) SendFailed(err error) { s.errs <- err }

// layer starts a layer with a recorder.
func layer(t testing.TB, c Config, specs ...string) (*Layer, *recorder) {
	t.Helper()
	r, ok := c.Handler.(*recorder)
	if !ok {
		r = newRecorder()
		c.Handler = r
	}
	l := New(c)
	require.NoError(t, l.Listen(context.Background(), specs...))
	l.Start()
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l, r
}

func options(via string, id int) string {
	return strings.ReplaceAll(fmt.Sprintf(`OPTIONS sip:bob@example.com SIP/2.0
Via: %s
Max-Forwards: 70
From: <sip:alice@example.com>;tag=a
To: <sip:bob@example.com>
Call-ID: call-%d
CSeq: 1 OPTIONS
Content-Length: 0

`, via, id), "\n", "\r\n")
}

func mustRequest(t testing.TB, s string) *sip.Request {
	t.Helper()
	q, err := sip.ParseRequest(s)
	require.NoError(t, err)
	return q
}

func addr(t testing.TB, s string) Addr {
	t.Helper()
	a, err := ParseAddr(s)
	require.NoError(t, err)
	return a
}

func TestUDPRequestAndAnswer(t *testing.T) {
	a, ra := layer(t, Config{}, "udp:127.0.0.1:0")
	b, rb := layer(t, Config{}, "udp:127.0.0.1:0")
	f, err := a.FlowTo(b.Addrs()[0], Flow{})
	require.NoError(t, err)
	host, port := f.SentBy()
	require.Equal(t, "127.0.0.1", host)
	require.Equal(t, a.Addrs()[0].AddrPort.Port(), port)
	require.NoError(t, f.Send(mustRequest(t, options(fmt.Sprintf("SIP/2.0/UDP %s:%d;branch=z9hG4bK1;rport", host, port), 1)), nil))
	in := rb.next(t)
	require.Equal(t, sip.OPTIONS, in.request().Method)
	require.Equal(t, a.Addrs()[0], in.f.Remote())
	require.Equal(t, b.Addrs()[0], in.f.Local())
	v, err := in.request().Via()
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(";branch=z9hG4bK1;rport=%d;received=127.0.0.1", port), string(v.Params))
	back := b.ReplyFlow(in.f, v)
	require.NoError(t, back.Send(sip.NewResponse(in.request(), 200, "", "b"), nil))
	require.Equal(t, 200, ra.next(t).m.(*sip.Response).Code)
}

func TestTCPRequestAndAnswer(t *testing.T) {
	a, ra := layer(t, Config{}, "tcp:127.0.0.1:0")
	b, rb := layer(t, Config{}, "tcp:127.0.0.1:0")
	f, err := a.FlowTo(b.Addrs()[0], Flow{})
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, f.Send(mustRequest(t, options("SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1", i)), nil))
	}
	for i := range 3 {
		in := rb.next(t)
		require.Equal(t, fmt.Sprintf("call-%d", i), in.request().CallID())
		require.NotEqual(t, a.Addrs()[0], in.f.Remote(), "an ephemeral port")
		require.NoError(t, in.f.Send(sip.NewResponse(in.request(), 200, "", "b"), nil))
		require.Equal(t, 200, ra.next(t).m.(*sip.Response).Code)
	}
	require.Equal(t, a.Addrs()[0], f.Local(), "we advertise where we listen")
	again, err := a.FlowTo(b.Addrs()[0], Flow{})
	require.NoError(t, err)
	require.Equal(t, f, again)
	require.EqualValues(t, 1, a.Stats().ConnsOpen)
}

func udpClient(t testing.TB, local string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
