package rtprelay

import (
	"net/netip"
	"strconv"
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
	at := uint16(0)
	for i := range d.lines {
		l := &d.lines[i]
		dst = append(dst, d.text[at:l.start]...)
		dst, at = w.line(dst, l)
	}
	dst = append(dst, d.text[at:]...)
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
	first   int // the first usable stream
	base    int // length of dst before us
}

// stream is nil where the section stays as it is.
func (w *sdpWriter) stream(l *line) *Stream {
	if l.media < 0 || int(l.media) >= len(w.streams) || !w.streams[l.media].usable() {
		return nil
	}
	return &w.streams[l.media]
}

// line writes what becomes of l and says from where the text goes on.
func (w *sdpWriter) line(dst []byte, l *line) ([]byte, uint16) {
	text := w.d.text
	s := w.stream(l)
	switch l.kind {
	case lineOrigin:
		if w.edit.KeepOrigin {
			return dst, l.start
		}
		dst = append(dst, text[l.start:l.v0]...)
		return appendAddr(dst, w.streams[w.first].Addr), l.v1
	case lineConn:
		to := w.session
		if l.media >= 0 {
			if s == nil || w.d.Media[l.media].Held() {
				return dst, l.start
			}
			to = s.Addr
		}
		if !to.IsValid() {
			return dst, l.start
		}
		dst = append(dst, text[l.start:l.v0]...)
		return appendAddr(dst, to), l.v1
	case lineMedia:
		if s == nil {
			return dst, l.start
		}
		dst = append(dst, text[l.start:l.v0]...)
		return strconv.AppendUint(dst, uint64(s.Port), 10), l.v1
	case lineConnSlot:
		return w.ownConn(dst, l, s), l.start
	case lineRTCP:
		if s == nil {
			return dst, l.start
		}
		dst = append(dst, text[l.start:l.v0]...)
		return strconv.AppendUint(dst, uint64(s.rtcp()), 10), l.v1
	case lineICE:
		if w.edit.ICE == ICEKeep || (l.media >= 0 && s == nil) {
			return dst, l.start
		}
		return dst, l.next
	case lineEnd:
		m := &w.d.Media[l.media]
		if s != nil && m.RTCP.Port() == 0 && !m.Mux && s.rtcp() != s.Port+1 {
			dst = w.open(dst)
			dst = append(dst, "a=rtcp:"...)
			dst = w.close(strconv.AppendUint(dst, uint64(s.rtcp()), 10))
		}
	}
	return dst, l.start
}

// ownConn adds a c= to a section that leaned on the session's and no longer can.
func (w *sdpWriter) ownConn(dst []byte, l *line, s *Stream) []byte {
	m := &w.d.Media[l.media]
	switch {
	case m.ownConn || m.Port == 0 || m.Held():
	case s != nil && s.Addr != w.session:
		dst = append(w.open(dst), "c=IN "...)
		dst = w.close(appendAddr(dst, s.Addr))
	case s == nil && w.session.IsValid() && m.Addr != w.session:
		dst = w.close(append(w.open(dst), w.d.text[w.d.conn0:w.d.conn1]...))
	}
	return dst
}

// open and close frame an added line, also where the body lacks its last line end.
func (w *sdpWriter) open(dst []byte) []byte {
	if n := len(dst); n > w.base && dst[n-1] != '\n' {
		return append(dst, w.d.eol()...)
	}
	return dst
}

func (w *sdpWriter) close(dst []byte) []byte { return append(dst, w.d.eol()...) }

// appendAddr writes "IP4 a" or "IP6 a".
func appendAddr(dst []byte, a netip.Addr) []byte {
	if a.Is4() {
		return a.AppendTo(append(dst, "IP4 "...))
	}
	return a.AppendTo(append(dst, "IP6 "...))
}
