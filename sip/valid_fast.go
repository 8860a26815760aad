package sip

// plainFields accepts messages whose fields are as everyday calls have them. What parsing noted need not be looked at again.
func (h *Header) plainFields(l *Limits, m Method, request bool) bool {
	if h.flags&(unframed|noTail|oddField) != 0 {
		return false
	}
	id, cseq := h.field(idCallID), h.field(idCSeq)
	if id == nil || cseq == nil || h.field(idVia) == nil || h.field(idFrom) == nil || h.field(idTo) == nil {
		return false
	}
	if h.vias[1].at != 0 && h.viaLines() > l.vias() {
		return false
	}
	if _, method := plainCSeq(h.value(cseq)); method == "" || request && method != m {
		return false
	}
	if v := h.value(id); run(v, 0, isPlain) < len(v) || v == "" {
		return false
	}
	return !request || h.plainRequest()
}

// plainRequest is plainFields for what only a request is asked for.
func (h *Header) plainRequest() bool {
	if f := h.field(idMaxForwards); f != nil {
		if _, ok := number(h.value(f), 255); !ok {
			return false
		}
	}
	f := h.field(idContact)
	return f == nil || plainAddr(h.value(f))
}

func (h *Header) viaLines() (n int) {
	l := h.list()
	for i := range l {
		if l[i].id == idVia {
			n++
		}
	}
	return n
}

// plainCSeq reads a number, one blank and a registered method; anything else gives no method.
func plainCSeq(s string) (uint32, Method) {
	n, i := digits(s, 1<<31-1)
	if i == 0 || i+1 >= len(s) || s[i] != ' ' {
		return 0, ""
	}
	return uint32(n), everydayMethod(s[i+1:])
}
