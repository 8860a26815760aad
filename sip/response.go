package sip

// NewResponse builds the response to r by RFC 3261 §8.2.6: Via, From, To, Call-ID, CSeq copied, Timestamp copied into a 100,
// Content-Length 0. toTag is added to To when it has none, except in a 100. An empty reason gives the standard phrase.
// Record-Route is copied for 101-299 answers to dialog-forming requests only by the caller's wish: see CopyRecordRoute.
// The response shares r's text.
func NewResponse(r *Request, code int, reason, toTag string) *Response {
	if reason == "" {
		reason = StatusText(code)
	}
	res := newAnswer()
	res.Code, res.Reason, res.Cause = code, reason, ErrLocal
	res.text, res.marks = r.text, r.shared()
	res.blank()
	from := len(res.arena)
	res.arena = appendStatusLine(res.arena, code, reason)
	res.setStart(from)
	l := r.list()
	for i := range l {
		switch l[i].id {
		case idVia, idFrom, idTo, idCallID, idCSeq:
			res.borrow(&r.Header, &l[i])
		case idTimestamp:
			if code == 100 {
				res.borrow(&r.Header, &l[i])
			}
		}
	}
	if code != 100 && toTag != "" && res.ToTag() == "" {
		res.SetToTag(toTag)
	}
	res.setNumber(idContentLength, 0)
	return res
}

// borrow appends a field of q: by reference when it stands in the text that both share, else as a copy.
func (h *Header) borrow(q *Header, f *field) {
	if line := q.line(f); f.at&arenaBit == 0 && line[len(line)-1] == '\n' {
		*h.slot() = *f
		return
	}
	*h.slot() = h.copyField(q, f)
}

// copyField copies a field of another message, or a cut-off one of this message, into the arena.
func (h *Header) copyField(q *Header, f *field) field {
	h.begin()
	g := *f
	g.at = uint32(len(h.arena)) | arenaBit
	line := q.line(f)
	if line[len(line)-1] != '\n' {
		line = line[:min(len(line), maxLine-2)]
		g.valLen = uint16(min(int(g.valLen), len(line)-int(g.val)))
		h.arena = append(h.arena, line...)
		h.arena = append(h.arena, "\r\n"...)
	} else {
		h.arena = append(h.arena, line...)
	}
	g.size = uint16(len(h.arena) - g.start())
	return g
}

// CopyRecordRoute copies the Record-Route fields of q (§12.1.1), for UAS answers.
func (r *Response) CopyRecordRoute(q *Request) {
	at := r.behindVias()
	l := q.list()
	for i := range l {
		if l[i].id == idRecordRoute {
			r.insert(at, r.copyField(&q.Header, &l[i]))
			at++
		}
	}
}
