package sip

// plainSize accepts a received message that is smaller than even its header may be.
func (h *Header) plainSize(l *Limits) bool {
	n := len(h.text)
	return h.flags&(edited|tooLarge|tooMany) == 0 && n <= l.headerBytes() && n <= l.messageBytes() && int(h.count) <= l.fields()
}

// plainStart accepts start lines in which nothing is wrong.
func (r *Request) plainStart(l *Limits) bool {
	return r.flags&(versionOdd|startOdd) == 0 && int(r.start.size) <= l.uriBytes() && r.uriErr == nil && r.URI.Headers == ""
}

// plainFields accepts messages whose fields are as everyday calls have them. What parsing noted need not be looked at again.
func (h *Header) plainFields(l *Limits, m Method, request bool) bool {
	if h.flags&(unframed|noTail|oddField|twice) != 0 {
		return false
	}
	for k := range idCSeq - idVia + 1 {
		if h.firsts[k] == 0 {
			return false
		}
	}
	if h.fewVias() > l.vias() {
		return false
	}
	if v := h.value(h.field(idCallID)); run(v, 0, isPlain) < len(v) || v == "" {
		return false
	}
	_, method := plainCSeq(h.value(h.field(idCSeq)))
	if !request || method == "" {
		return method != ""
	}
	if f := h.field(idMaxForwards); f != nil {
		if _, ok := number(h.value(f), 255); !ok {
			return false
		}
	}
	f := h.field(idContact)
	return method == m && (f == nil || plainAddr(h.value(f)))
}

// fewVias is the number of Vias where there are one or two, and else at least that.
func (h *Header) fewVias() int {
	switch {
	case h.vias[1].at == 0 && !h.vias[0].list:
		return 1
	case h.vias[1].at == 0 && h.vias[1].list:
		return 2
	}
	return h.mostVias()
}

// mostVias is how many Vias there are at most, by what their lines have room for.
//
//go:noinline
func (h *Header) mostVias() (n int) {
	l := h.list()
	for i := range l {
		if l[i].id == idVia {
			n += 1 + int(l[i].valLen)/len("SIP/2.0/T hh,")
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
