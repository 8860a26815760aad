package rtprelay

import (
	"net/netip"
	"unsafe"
)

// A Stream is what an engine gives for one Media: where the other party shall send. With Port 0 or an invalid Addr the section
// stays as it is.
type Stream struct {
	Addr netip.Addr
	Port uint16
	RTCP uint16 // port for RTCP; 0: Port + 1
}

func (s *Stream) usable() bool { return s.Port != 0 && s.Addr.IsValid() }

func (s *Stream) rtcp() uint16 {
	if s.RTCP != 0 {
		return s.RTCP
	}
	return s.Port + 1
}

// An Edit says what Rewrite does besides addresses and ports. The zero value rewrites o=, removes ICE lines and adds no marker.
type Edit struct {
	KeepOrigin bool // leave o= alone
	ICE        ICE
	Mark       bool // append a=nortpproxy:yes unless it is there
}

// Rewrite is Append into a new string, with one allocation.
func (d *Description) Rewrite(streams []Stream, e Edit) string {
	b := d.Append(make([]byte, 0, len(d.text)+64+16*len(d.Media)), streams, e)
	return unsafe.String(unsafe.SliceData(b), len(b)) // b is never written again
}

// Append writes the description with the addresses and ports of streams, streams[i] for Media[i], to dst. Everything else
// stays byte for byte: order, unknown lines, line ends. Sections without a usable stream stay as they are, and if the session-level
// c= that they lean on changes, they get the old one as their own.
func (d *Description) Append(dst []byte, streams []Stream, e Edit) []byte {
	w := sdpWriter{d: d, streams: streams, edit: e, session: d.sessionAddr(streams), base: len(dst)}
	if w.first = firstUsable(streams, len(d.Media)); w.first < 0 {
		return append(dst, d.text...)
	}
	var room [44]byte // "IP6 " and the longest address, but for zones
	w.text = appendAddr(room[:0], streams[w.first].Addr)
	for i := range d.lines {
		dst = w.line(dst, &d.lines[i])
	}
	dst = append(dst, d.text[w.at:]...)
	if e.Mark && !d.Marked {
		if dst[len(dst)-1] != '\n' {
			dst = append(dst, d.eol()...)
		}
		dst = append(dst, marker...)
		dst = append(dst, d.eol()...)
	}
	return dst
}

func firstUsable(streams []Stream, n int) int {
	for i := range streams {
		if i < n && streams[i].usable() {
			return i
		}
	}
	return -1
}

// sessionAddr is what the session-level c= becomes: the address of the first stream that leans on it, else of the first at
// all, so that the sender's own never leaks; invalid when the line stays.
func (d *Description) sessionAddr(streams []Stream) netip.Addr {
	if d.conn1 == 0 || (d.Addr.IsValid() && d.Addr.IsUnspecified()) {
		return netip.Addr{}
	}
	first := netip.Addr{}
	for i := range streams {
		if i >= len(d.Media) || !streams[i].usable() {
			continue
		}
		if !d.Media[i].ownConn {
			return streams[i].Addr
		}
		if !first.IsValid() {
			first = streams[i].Addr
		}
	}
	return first
}

type sdpWriter struct {
	d       *Description
	streams []Stream
	edit    Edit
	session netip.Addr
	first   int    // the first usable stream
	base    int    // length of dst before us
	at      uint16 // the text before is written, or left out
	text    []byte // the address of the first usable stream: mostly all get it
}

// stream is nil where the section stays as it is.
func (w *sdpWriter) stream(l *line) *Stream {
	if l.media < 0 || int(l.media) >= len(w.streams) || !w.streams[l.media].usable() {
		return nil
	}
	return &w.streams[l.media]
}

// until copies the text up to v0, and leaves out what is between v0 and v1.
func (w *sdpWriter) until(dst []byte, v0, v1 uint16) []byte {
	dst = append(dst, w.d.text[w.at:v0]...)
	w.at = v1
	return dst
}

// line writes the text up to where l changes, and what it becomes; nothing when it stays.
func (w *sdpWriter) line(dst []byte, l *line) []byte {
	s := w.stream(l)
	switch l.kind {
	case lineOrigin:
		if !w.edit.KeepOrigin {
			return w.addr(w.until(dst, l.v0, l.v1), w.streams[w.first].Addr)
		}
	case lineConn:
		if to := w.connection(l, s); to.IsValid() {
			return w.addr(w.until(dst, l.v0, l.v1), to)
		}
	case lineMedia:
		if s != nil {
			return appendPort(w.until(dst, l.v0, l.v1), s.Port)
		}
	case lineConnSlot:
		return w.ownConn(dst, l, s)
	case lineRTCP:
		if s != nil {
			return appendPort(w.until(dst, l.v0, l.v1), s.rtcp())
		}
	case lineICE:
		if w.edit.ICE != ICEKeep && (l.media < 0 || s != nil) {
			return w.until(dst, l.start, l.next)
		}
	case lineEnd:
		if s != nil && s.rtcp() != s.Port+1 {
			dst = append(w.open(dst, l), "a=rtcp:"...)
			return w.close(appendPort(dst, s.rtcp()))
		}
	}
	return dst
}

// connection is what a c= becomes; invalid when it stays.
func (w *sdpWriter) connection(l *line, s *Stream) netip.Addr {
	switch {
	case l.media < 0:
		return w.session
	case s == nil || w.d.Media[l.media].Held():
		return netip.Addr{}
	}
	return s.Addr
}

// ownConn adds a c= to a section that leaned on the session's and no longer can.
func (w *sdpWriter) ownConn(dst []byte, l *line, s *Stream) []byte {
	m := &w.d.Media[l.media]
	switch {
	case m.ownConn || m.Port == 0 || m.Held():
	case s != nil && s.Addr != w.session:
		return w.close(w.addr(append(w.open(dst, l), "c=IN "...), s.Addr))
	case s == nil && w.session.IsValid() && m.Addr != w.session:
		return w.close(append(w.open(dst, l), w.d.text[w.d.conn0:w.d.conn1]...))
	}
	return dst
}

// open and close frame a line added at l, also where the body lacks its last line end.
func (w *sdpWriter) open(dst []byte, l *line) []byte {
	dst = w.until(dst, l.start, l.start)
	if n := len(dst); n > w.base && dst[n-1] != '\n' {
		return append(dst, w.d.eol()...)
	}
	return dst
}

func (w *sdpWriter) close(dst []byte) []byte { return append(dst, w.d.eol()...) }

// addr writes "IP4 a" or "IP6 a".
func (w *sdpWriter) addr(dst []byte, a netip.Addr) []byte {
	if a == w.streams[w.first].Addr {
		return append(dst, w.text...)
	}
	return appendAddr(dst, a)
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if a.Is4() {
		return appendDotted(append(dst, "IP4 "...), a)
	}
	return a.AppendTo(append(dst, "IP6 "...))
}
