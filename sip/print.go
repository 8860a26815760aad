package sip

import "strconv"

func (h *Header) appendTo(b []byte) []byte {
	if h.flags&edited == 0 {
		return append(b, h.text...)
	}
	at, end := h.start.at, h.start.at+h.start.size // pieces that lie side by side are copied in one go
	l := h.list()
	for i := range l {
		f := &l[i]
		if f.at != end { // arenaBit keeps text and arena apart
			b = h.appendPiece(b, at, end)
			at, end = f.at, f.at
		}
		end += uint32(f.size)
	}
	if h.flags&bodyNew != 0 {
		return append(append(h.appendPiece(b, at, end), "\r\n"...), h.newBody...)
	}
	if h.tail != end {
		b = h.appendPiece(b, at, end)
		at = h.tail
	}
	return h.appendPiece(b, at, uint32(len(h.text)))
}

// appendPiece appends bytes of text or arena, see piece.
//
//go:noinline
func (h *Header) appendPiece(b []byte, at, end uint32) []byte {
	if at&arenaBit == 0 {
		return append(b, h.text[at:end]...)
	}
	return append(b, h.arena[at&^arenaBit:end&^arenaBit]...)
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
		return n + len(h.text) - int(h.tail)
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
	const at, n = len("SIP/2.0 "), len("SIP/2.0 200 ") // as it should be
	if line := r.startLine(); len(line) == n+len(r.Reason)+2 && line[:at] == "SIP/2.0 " && line[n-1] == ' ' && line[n:len(line)-2] == r.Reason &&
		r.Code-100 == int(line[at]-'1')*100+int(line[at+1]-'0')*10+int(line[at+2]-'0') {
		return true
	}
	return r.statusIsThat()
}

// statusIsThat is statusAsWritten for any status line.
//
//go:noinline
func (r *Response) statusIsThat() bool {
	line, _ := cutLine(r.startLine())
	code, reason, fault := statusLine(line)
	return fault == "" && code == r.Code && reason == r.Reason
}

func appendStatusLine(b []byte, code int, reason string) []byte {
	b = append(b, "SIP/2.0 "...)
	if code >= 100 && code <= 999 {
		b = append(b, '0'+byte(code/100), '0'+byte(code/10%10), '0'+byte(code%10), ' ')
	} else {
		b = append(strconv.AppendInt(b, int64(code), 10), ' ')
	}
	return appendClean(b, reason)
}
