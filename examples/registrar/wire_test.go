package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// A wire is a socket to the running program, with nothing of this project between: what is written here is what the program reads.
type wire struct {
	*testing.T
	proto string // udp, tcp or tls
	conn  net.Conn
	in    *bufio.Reader
}

func wired(t *testing.T, proto, addr string) *wire {
	t.Helper()
	w := &wire{T: t, proto: proto}
	var err error
	if proto == "tls" {
		w.conn, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	} else {
		w.conn, err = net.Dial(proto, addr)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.conn.Close() })
	w.in = bufio.NewReaderSize(w.conn, 65536)
	return w
}

// serial makes branches, tags and Call-IDs different.
var serial atomic.Uint64

// request is a complete request. fields replace those that are there already ("Name: value"), take them away ("-Name"), or stand below them ("+Name: value").
func (w *wire) request(method, uri string, fields ...string) string {
	n := serial.Add(1)
	list := []string{
		fmt.Sprintf("Via: SIP/2.0/%s %s;rport;branch=z9hG4bKw%d", strings.ToUpper(w.proto), w.conn.LocalAddr(), n),
		"Max-Forwards: 70", fmt.Sprintf("From: <sip:alice@example.com>;tag=f%d", n), "To: <sip:alice@example.com>",
		fmt.Sprintf("Call-ID: call%d", n), "CSeq: 1 " + method, "Content-Length: 0",
	}
	for _, f := range fields {
		list = edited(list, f)
	}
	return method + " " + uri + " SIP/2.0\r\n" + strings.Join(list, "\r\n") + "\r\n\r\n"
}

func edited(list []string, f string) []string {
	if f[0] == '+' {
		return append(list, f[1:])
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(f, "-"), ":")
	for i := range list {
		if strings.HasPrefix(list[i], name+":") {
			if f[0] == '-' {
				return append(list[:i], list[i+1:]...)
			}
			list[i] = f
			return list
		}
	}
	return append(list, f)
}

// register is a REGISTER of a user.
func (w *wire) register(user string, fields ...string) string {
	who := "<sip:" + user + "@example.com>"
	return w.request("REGISTER", "sip:example.com", append([]string{"From: " + who + ";tag=x", "To: " + who}, fields...)...)
}

func (w *wire) send(text string) {
	w.Helper()
	_, err := io.WriteString(w.conn, text)
	require.NoError(w, err)
}

// ask sends a request and gives its final response.
func (w *wire) ask(text string) *sip.Response {
	w.Helper()
	w.send(text)
	return w.final(text)
}

// final is the final response to a request, whose Via it must bear.
func (w *wire) final(text string) *sip.Response {
	w.Helper()
	_, branch, _ := strings.Cut(text, "branch=")
	if i := strings.IndexAny(branch, ";,\r"); i >= 0 {
		branch = branch[:i]
	}
	for {
		raw, err := w.next(20 * time.Second)
		require.NoError(w, err, "no answer to\n%s", text)
		if !strings.HasPrefix(raw, "SIP/2.0 ") {
			continue // a keepalive
		}
		res, err := sip.ParseResponse(raw)
		require.NoError(w, err, raw)
		if res.Code >= 200 && strings.Contains(raw, branch) {
			return res
		}
	}
}

// next is the next message.
func (w *wire) next(wait time.Duration) (string, error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(wait))
	if w.proto == "udp" {
		b := make([]byte, 65536)
		n, err := w.conn.Read(b)
		return string(b[:n]), err
	}
	return readMessage(w.in)
}

// readMessage cuts a message out of a stream.
func readMessage(in *bufio.Reader) (string, error) {
	text, length := "", 0
	for !strings.HasSuffix(text, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			return text, err
		}
		if text == "" && line == "\r\n" {
			continue // a keepalive
		}
		if v, ok := strings.CutPrefix(line, "Content-Length:"); ok {
			_, _ = fmt.Sscan(v, &length)
		}
		text += line
	}
	body := make([]byte, length)
	_, err := io.ReadFull(in, body)
	return text + string(body), err
}

// requested waits for the next request, of a method.
func (w *wire) requested(method sip.Method) *sip.Request {
	w.Helper()
	for {
		raw, err := w.next(20 * time.Second)
		require.NoError(w, err, "no %s", method)
		if strings.HasPrefix(raw, "SIP/2.0 ") {
			continue
		}
		req, err := sip.ParseRequest(raw)
		require.NoError(w, err, raw)
		if req.Method == method {
			return req
		}
	}
}

// reply answers a request, with fields below the usual ones.
func (w *wire) reply(req *sip.Request, code int, fields ...string) {
	w.Helper()
	res := sip.NewResponse(req, code, "", "callee")
	for rr := range req.Values("Record-Route") {
		res.Add("Record-Route", rr)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		res.Add(name, value)
	}
	w.send(res.String())
}

// routes are the Record-Routes of a 2xx as Routes of the caller.
func routes(res *sip.Response) []string {
	var list []string
	for rr := range res.Values("Record-Route") {
		list = append([]string{"+Route: " + rr}, list...)
	}
	return list
}
