package sipproxy_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// at makes a target at a host of the network, over the transport of the run.
func at(k *siptest.Kit, r *sipproxy.Request, host string) sipproxy.Target {
	t := to(r, host)
	if k.Proto == transport.TCP {
		t.URI = t.URI.WithParam("transport", "tcp")
	}
	return t
}

func ats(k *siptest.Kit, r *sipproxy.Request, hosts ...string) (list []sipproxy.Target) {
	for _, h := range hosts {
		list = append(list, at(k, r, h))
	}
	return list
}

// forks is a handler that forwards to hosts in parallel.
func forks(k *siptest.Kit, hosts ...string) sipproxy.HandlerFunc {
	return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		return r.Forward(ctx, ats(k, r, hosts...)...)
	}
}

// serve starts a server with a handler.
func serve(t *testing.T, k *siptest.Kit, h sipproxy.HandlerFunc) *sipproxy.Server {
	t.Helper()
	return k.Server(t, &sipproxy.Server{Handler: h})
}

// raw is a request as text; fields replace those of their name, an empty value removes it, unknown ones are added.
func raw(k *siptest.Kit, method, uri string, fields ...string) string {
	via := "UDP"
	if k.Proto == transport.TCP {
		via = "TCP"
	}
	list := []string{
		"Via", "SIP/2.0/" + via + " 192.0.2.10:5060;branch=z9hG4bKraw" + fmt.Sprint(k.Ladder.Len()), "Max-Forwards", "70",
		"From", "<sip:alice@example.com>;tag=a", "To", "<sip:bob@example.com>", "Call-ID", "raw" + fmt.Sprint(k.Ladder.Len()),
		"CSeq", "1 " + method, "Contact", "<sip:alice@192.0.2.10>", "Content-Length", "0",
	}
	line := fmt.Sprintf("%s %s SIP/2.0\r\n", method, uri)
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "" { // the start line
			line = fields[i+1] + "\r\n"
			continue
		}
		list = replaced(list, fields[i], fields[i+1])
	}
	var b strings.Builder
	b.WriteString(line)
	for i := 0; i < len(list); i += 2 {
		if list[i+1] != "" {
			b.WriteString(list[i] + ": " + list[i+1] + "\r\n")
		}
	}
	return b.String() + "\r\n"
}

func replaced(list []string, name, value string) []string {
	for i := 0; i < len(list); i += 2 {
		if list[i] == name {
			list[i+1] = value
			return list
		}
	}
	return append(list, name, value)
}

func response(t *testing.T, text string) *sip.Response {
	t.Helper()
	res, err := sip.ParseResponse(text)
	require.NoError(t, err, text)
	return res
}

func request(t *testing.T, text string) *sip.Request {
	t.Helper()
	req, err := sip.ParseRequest(text)
	require.NoError(t, err, text)
	return req
}

// good shows that the server still works: a call from alice to bob's address and its end.
func good(t *testing.T, alice, bob *siptest.Phone) {
	t.Helper()
	call := alice.Call(t, "sip:bob@example.com")
	bob.Incoming(t).ExpectAck()
	call.Bye()
}

// since is how much virtual time has passed.
func since(start time.Time) time.Duration { return time.Since(start) }

// A wire is a bare UDP socket that speaks with the proxy.
type wire struct {
	t     *testing.T
	pc    net.PacketConn
	later []*sip.Request
	buf   [65535]byte
}

func socket(t *testing.T, k *siptest.Kit, ip string) *wire {
	t.Helper()
	pc, err := k.Network.Host(ip).ListenPacket(t.Context(), "udp", ip+":5060")
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	return &wire{t: t, pc: pc}
}

func (w *wire) send(text string) {
	_, err := w.pc.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.101:5060")))
	require.NoError(w.t, err)
}

func (w *wire) read() string {
	n, _, err := w.pc.ReadFrom(w.buf[:])
	require.NoError(w.t, err)
	return string(w.buf[:n])
}

func (w *wire) expect(code int) {
	text := w.read()
	if want := fmt.Sprintf("SIP/2.0 %d ", code); !strings.HasPrefix(text, want) {
		require.Fail(w.t, "expected "+want, text)
	}
}
