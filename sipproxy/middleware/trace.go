package middleware

import (
	"io"
	"os"
	"strings"
	"sync"

	"github.com/sipkit/sipkit/transport"
)

// Trace returns a function for Server.Tap that writes every message to w: a line with time, source, destination and transport, then the message
// as it is on the wire, requests and replies alike. When w is a terminal they are coloured (unless NO_COLOR is set): requests, then
// replies by class. Each message is one Write, made on the goroutine that reads or sends the message: w should be quick.
func Trace(w io.Writer) func(transport.Packet) {
	t := &Tracer{Writer: w, Colour: isTerminal(w)}
	return t.Packet
}

// A Tracer is what Trace makes, with its choices open.
type Tracer struct {
	Writer io.Writer
	Colour bool
	When   func(transport.Packet) bool // nil: every message

	mu  sync.Mutex
	buf []byte
}

// Packet writes one message. It is safe for concurrent use. What cannot be written is lost.
func (t *Tracer) Packet(p transport.Packet) {
	if t.When != nil && !t.When(p) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = t.append(t.buf[:0], p)
	_, _ = t.Writer.Write(t.buf) // a trace that fails must not harm the call
	if cap(t.buf) > maxTraceBuffer {
		t.buf = nil
	}
}

// maxTraceBuffer is how much a tracer keeps for the next message.
const maxTraceBuffer = 64 << 10

func (t *Tracer) append(b []byte, p transport.Packet) []byte {
	from, to := p.Remote, p.Local
	if p.Out {
		from, to = to, from
	}
	text := strings.TrimRight(string(p.Data), "\r\n")
	b = t.paint(b, dim, func(b []byte) []byte {
		b = p.Time.AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
		b = append(b, ' ')
		b = from.AddrPort.AppendTo(b)
		b = append(b, " -> "...)
		b = to.AddrPort.AppendTo(b)
		b = append(b, ' ')
		return append(b, p.Remote.Proto.String()...)
	})
	line, rest, more := strings.Cut(text, "\n")
	b = t.paint(b, colourOf(line), func(b []byte) []byte { return appendLine(b, line) })
	for more {
		line, rest, more = strings.Cut(rest, "\n")
		b = append(appendLine(b, line), '\n')
	}
	return append(b, '\n')
}

// appendLine appends a line of a message. Control bytes, with which a stranger could play tricks on a terminal, become '?'.
func appendLine(b []byte, line string) []byte {
	for i := range len(line) {
		switch c := line[i]; {
		case c == '\r' && i == len(line)-1:
		case c < ' ' && c != '\t', c == 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return b
}

// paint appends one line in a colour.
func (t *Tracer) paint(b []byte, colour string, f func([]byte) []byte) []byte {
	if !t.Colour {
		return append(f(b), '\n')
	}
	b = append(b, colour...)
	b = f(b)
	return append(b, plain+"\n"...)
}

const (
	plain  = "\x1b[0m"
	dim    = "\x1b[2m"
	cyan   = "\x1b[1;36m"
	yellow = "\x1b[33m"
	green  = "\x1b[1;32m"
	blue   = "\x1b[34m"
	red    = "\x1b[1;31m"
)

// colourOf chooses by the start line: requests cyan; 1xx yellow, 2xx green, 3xx blue, failures red.
func colourOf(line string) string {
	status, reply := strings.CutPrefix(line, "SIP/2.0 ")
	switch {
	case !reply:
		return cyan
	case strings.HasPrefix(status, "1"):
		return yellow
	case strings.HasPrefix(status, "2"):
		return green
	case strings.HasPrefix(status, "3"):
		return blue
	}
	return red
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
