package sip

import "strconv"

// run collects pieces that lie side by side, so that untouched fields are copied in one go.
type run struct {
	h *Header
	b []byte
	s span
}

func (r *run) add(at, size uint32) {
	if at == r.s.at+r.s.size { // arenaBit keeps text and arena apart
		r.s.size += size
		return
	}
	r.flush()
	r.s = span{at, size}
}

func (r *run) flush() {
	r.b = append(r.b, r.h.piece(r.s.at, r.s.size)...)
}

func (h *Header) appendTo(b []byte) []byte {
	if h.flags&edited == 0 {
		return append(b, h.text...)
	}
	r := run{h: h, b: b, s: h.start}
	l := h.list()
	for i := range l {
		r.add(l[i].at, uint32(l[i].size))
	}
	if h.flags&bodyNew == 0 {
		r.add(h.tail.at, h.tail.size)
		r.flush()
		return r.b
	}
	r.flush()
	r.b = append(r.b, "\r\n"...)
	return append(r.b, h.newBody...)
}

func (h *Header) len() int {
	if h.flags&edited == 0 {
		return len(h.text)
	}
	n := int(h.start.size)
	l := h.list()
	for i := range l {
		n += int(l[i].size)
	}
	if h.flags&bodyNew == 0 {
		return n + int(h.tail.size)
	}
	return n + 2 + len(h.newBody)
}

// startLine is the start line with its line end.
func (h *Header) startLine() string { return h.piece(h.start.at, h.start.size) }

// AppendTo appends the message as it goes on the wire, see Message.
func (r *Request) AppendTo(b []byte) []byte {
	if r.methodAsWritten() {
		return r.appendTo(b)
	}
	b = append(b, r.Method...)
	return r.appendBehind(b, r.startLine()[r.methodLen():])
}

// AppendTo appends the message as it goes on the wire, see Message. The status line is that of Code and Reason.
func (r *Response) AppendTo(b []byte) []byte {
	if r.statusAsWritten() {
		return r.appendTo(b)
	}
	b = appendStatusLine(b, r.Code, r.Reason)
	return r.appendBehind(b, "\r\n")
}

// appendBehind appends line, the rest of a start line that is not the one indexed, and the message behind the start line.
func (h *Header) appendBehind(b []byte, line string) []byte {
	b = append(b, line...)
	n := len(b)
	b = h.appendTo(b)
	return append(b[:n], b[n+int(h.start.size):]...)
}

// Len is the number of bytes AppendTo appends.
func (r *Request) Len() int {
	if r.methodAsWritten() {
		return r.len()
	}
	return r.len() - r.methodLen() + len(r.Method)
}

// Len is the number of bytes AppendTo appends.
func (r *Response) Len() int {
	if r.statusAsWritten() {
		return r.len()
	}
	return r.len() - int(r.start.size) + len(appendStatusLine(nil, r.Code, r.Reason)) + 2
}

// String is the message as it goes on the wire.
func (r *Request) String() string { return string(r.AppendTo(make([]byte, 0, r.Len()))) }

// String is the message as it goes on the wire.
func (r *Response) String() string { return string(r.AppendTo(make([]byte, 0, r.Len()))) }

func (r *Request) methodLen() int {
	line := r.startLine()
	i := 0
	for i < len(line) && line[i] != ' ' {
		i++
	}
	return i
}

func (r *Request) methodAsWritten() bool {
	line, n := r.startLine(), len(r.Method)
	return len(line) > n && line[n] == ' ' && line[:n] == string(r.Method)
}

func (r *Response) statusAsWritten() bool {
	line, _ := cutLine(r.startLine())
	code, reason, fault := statusLine(line)
	return fault == "" && code == r.Code && reason == r.Reason
}

func appendStatusLine(b []byte, code int, reason string) []byte {
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	return appendClean(b, reason)
}
