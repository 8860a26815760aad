package sip

// Scan looks for one message at the start of buf, the bytes read so far from a stream (RFC 3261 §18.3). It keeps no state; hint is
// opaque: pass 0 for fresh data and what Scan returned when called again with the same start and more bytes behind it.
// Results:
//   - a message and n, the bytes to discard from buf;
//   - nil, n > 0, nil: n bytes of keepalive (CRLF); ping reports a double CRLF that wants a CRLF back (RFC 5626 §4.4.1);
//   - nil, 0, nil: incomplete, read more;
//   - err: framing is lost (no or conflicting or negative Content-Length, limits exceeded): the message, when not nil, can be answered, then the stream must close.
func Scan(buf []byte, l Limits, hint int) (m Message, n int, ping bool, next int, err error) {
	panic("stub")
}
