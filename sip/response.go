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
	res.text, res.marks = r.text, r.marks
	res.marks.keepText()
	res.flags = bodyNew | edited | oddField
	res.arena = appendStatusLine(res.arena, code, reason)
	res.setStart(0)
	untagged := code != 100 && toTag != ""
	l := r.list()
	for i := range l {
		f := &l[i]
		if !inTrying(f.id) || f.id == idTimestamp && code != 100 {
			continue
		}
		g := res.slot()
		switch {
		case untagged && f.id == idTo && f.at == r.to.at && r.to.tag == 0 && res.firsts[idTo-idVia] == 0: // nearly always
			res.tagged(g, &r.Header, f, toTag)
			untagged = false
		case f.at&arenaBit == 0 && r.text[int(f.at)+int(f.size)-1] == '\n':
			*g = *f
		default:
			res.copyField(g, &r.Header, f)
		}
		res.placed(g.id, int(res.count))
	}
	if untagged && res.ToTag() == "" {
		res.SetToTag(toTag)
	}
	f := field{at: uint32(len(res.arena)) | arenaBit, size: uint16(len(emptyBody)), val: uint16(len("Content-Length: ")), valLen: 1, id: idContentLength}
	res.arena = append(res.arena, emptyBody...)
	*res.slot() = f
	res.placed(idContentLength, int(res.count))
	return res
}

// Answers reports whether r is a response to q, made of it or received: it has its Via branch and Call-ID.
func (r *Response) Answers(q *Request) bool {
	return q.text != "" && r.text == q.text || r.Branch() == q.Branch() && r.CallID() == q.CallID()
}

const emptyBody = "Content-Length: 0\r\n"

// tagged makes g a copy of f, the To of q, which has no parameters but plain ones and no tag, and adds one.
func (h *Header) tagged(g *field, q *Header, f *field, tag string) {
	g.at, g.val, g.id = uint32(len(h.arena))|arenaBit, f.val, f.id
	b := append(h.arena, q.piece(f.at, uint32(f.val)+uint32(f.valLen))...)
	h.shut(g, appendParam(b, ";tag=", tag))
}

// copyField makes g a copy in the arena of a field of another message, or of a cut-off one of this message.
//
//go:noinline
func (h *Header) copyField(g *field, q *Header, f *field) {
	h.begin()
	line, end := q.line(f), "\r\n"
	if line[len(line)-1] != '\n' {
		line = line[:min(len(line), maxLine-2)]
	} else {
		end = ""
	}
	*g = *f
	g.at = uint32(len(h.arena)) | arenaBit
	g.size = uint16(len(line) + len(end))
	g.valLen = uint16(min(int(g.valLen), len(line)-int(g.val)))
	h.arena = append(append(h.arena, line...), end...)
}

// CopyRecordRoute copies the Record-Route fields of q (§12.1.1), for UAS answers.
func (r *Response) CopyRecordRoute(q *Request) {
	at := r.behindVias()
	l := q.list()
	for i := range l {
		if l[i].id == idRecordRoute {
			r.copyField(r.insert(at, idRecordRoute), &q.Header, &l[i])
			at++
		}
	}
}
