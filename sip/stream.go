package sip

import (
	"bytes"
	"math"
	"unsafe"
)

// afterCRLF is the hint that a lone CRLF came just before: a second one makes it a ping.
const afterCRLF = math.MinInt

// Scan looks for one message at the start of buf, the bytes read so far from a stream (RFC 3261 §18.3). It keeps no state; hint is
// opaque: pass 0 for fresh data and what Scan returned when called again with the same start and more bytes behind it.
// Results:
//   - a message and n, the bytes to discard from buf;
//   - nil, n > 0, nil: n bytes of keepalive (CRLF); ping reports a double CRLF that wants a CRLF back (RFC 5626 §4.4.1);
//   - nil, 0, nil: incomplete, read more;
//   - err: framing is lost (no or conflicting or negative Content-Length, limits exceeded, a line that ends without CR): the message, when not nil, can be answered, then the stream must close.
//
// After a lone CRLF, passing next on with the bytes behind it lets a ping be seen whose two halves came apart; 0 does no harm.
// The message owns a copy of its bytes.
func Scan(buf []byte, l Limits, hint int) (m Message, n int, ping bool, next int, err error) {
	if len(buf) == 0 {
		return nil, 0, false, hint, nil
	}
	if buf[0] == '\r' || buf[0] == '\n' {
		n, ping, next = scanEmpty(buf, hint == afterCRLF)
		if n > 0 || len(buf) == 1 {
			return nil, n, ping, next, nil
		}
	}
	if hint == afterCRLF {
		hint = 0
	}
	l = l.filled()
	if hint < 0 && hint > -math.MaxInt { // head and Content-Length are known; -hint is where the message ends
		return scanBody(buf, -hint)
	}
	end := headEnd(buf, hint)
	if end < 0 {
		return scanPartial(buf, &l)
	}
	if end > l.HeaderBytes {
		return scanLost(buf, l.HeaderBytes, tooLarge, "header too large")
	}
	length, why := lengthOf(unsafe.String(unsafe.SliceData(buf), end))
	switch {
	case why&lenBad != 0:
		return scanLost(buf, end, lenBad, "Content-Length is no number")
	case why&lenTwo != 0:
		return scanLost(buf, end, lenTwo, "Content-Lengths differ")
	case length < 0:
		return scanLost(buf, end, lenNone, "no Content-Length")
	case length > l.MessageBytes-end:
		return scanLost(buf, end, tooLarge, "message too large")
	}
	return scanBody(buf, end+length)
}

// lengthOf finds the Content-Length in start line and header fields; -1 when there is none.
func lengthOf(head string) (length int, why flags) {
	h := Header{text: head}
	length, nth := -1, 0
	var f field
	for _, i := cutLine(head); i < len(head); {
		if !mayBeLength(head[i:]) {
			_, n := cutLine(head[i:])
			i += n
			continue
		}
		from := i
		if i = h.scanOdd(&f, i); f.id == idContentLength && i-from <= maxLine {
			nth++
			length = h.frame(h.value(&f), length, nth)
		}
	}
	return length, h.flags
}

// mayBeLength tells most lines that are no Content-Length, among them all folds, which start with a blank.
func mayBeLength(line string) bool {
	const start = len("Content-L")
	return lower(line[0]) == 'l' || lower(line[0]) == 'c' && len(line) > start && lower(line[start-1]) == 'l'
}

// scanEmpty reads the line ends before a message: a ping, a lone CRLF, or nothing yet.
func scanEmpty(buf []byte, second bool) (n int, ping bool, next int) {
	switch {
	case buf[0] == '\n':
		return 1, false, 0
	case len(buf) == 1:
		if second {
			return 0, false, afterCRLF
		}
		return 0, false, 0
	case buf[1] != '\n':
		return 1, false, 0
	case second:
		return 2, true, 0
	case len(buf) >= 4 && buf[2] == '\r' && buf[3] == '\n':
		return 4, true, 0
	case len(buf) == 3 && buf[2] == '\r':
		return 0, false, 0
	}
	return 2, false, afterCRLF
}

// headEnd is the index behind the empty line, -1 when it has not come. It looks from hint on.
func headEnd(buf []byte, hint int) int {
	i := min(max(hint, 0), len(buf))
	for {
		n := bytes.IndexByte(buf[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		if i < len(buf) && buf[i] == '\n' {
			return i + 1
		}
		if i+1 < len(buf) && buf[i] == '\r' && buf[i+1] == '\n' {
			return i + 2
		}
	}
}

// scanPartial answers for a header that has not ended: more bytes are wanted, unless the start line is no SIP or a limit is exceeded.
func scanPartial(buf []byte, l *Limits) (m Message, n int, ping bool, next int, err error) {
	if len(buf) > l.HeaderBytes {
		return scanLost(buf, l.HeaderBytes, tooLarge, "header too large")
	}
	return nil, 0, false, max(len(buf)-3, 0), nil // an empty line may have begun in the last bytes
}

func scanBody(buf []byte, end int) (m Message, n int, ping bool, next int, err error) {
	if end > len(buf) {
		return nil, 0, false, -end, nil
	}
	m, reason := parse(string(buf[:end]))
	if reason != "" {
		return nil, 0, false, 0, bad("start line", reason, 0)
	}
	if m.Head().flags&bareLF != 0 { // whoever sent it may have seen it end elsewhere
		return m, end, false, 0, bad("message", "a line that ends without CR", 0)
	}
	return m, end, false, 0, nil
}

// scanLost gives what can be answered of a message whose end cannot be told.
func scanLost(buf []byte, head int, why flags, reason string) (m Message, n int, ping bool, next int, err error) {
	m, fault := parse(string(buf[:head]))
	if fault != "" {
		return nil, 0, false, 0, bad("start line", fault, 0)
	}
	m.Head().flags |= why
	return m, head, false, 0, bad("message", reason, head)
}
