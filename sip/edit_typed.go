package sip

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// PushVia puts v on top. The message is about to be forwarded, so it also gets a Content-Length when it has none: the
// next hop may be a stream (§16.6 step 8).
func (h *Header) PushVia(v Via) {
	f, b := h.openVia()
	h.shutClean(f, v.append(b))
	h.needLength()
}

// A ViaText is a Via up to the value of its branch parameter, as a server that has only few of them writes it into every request.
type ViaText struct {
	text string
	mark viaMark
}

// NewViaText makes the ViaText of v, whose Params must not hold a branch.
func NewViaText(v Via) *ViaText {
	t := &ViaText{text: string(appendClean(nil, v.String()+";branch="))}
	if s := t.text + "x"; t.mark.read(s, 1) < len(s) { // a comma
		t.mark.at = 0
	}
	return t
}

// PushViaText is PushVia for t with that branch, behind which further parameters may follow. What a server usually writes is not looked at
// again when somebody asks for the Via.
func (h *Header) PushViaText(t *ViaText, branch []byte) {
	f, b := h.openVia()
	start := len(b)
	b = append(append(b, t.text...), branch...)
	plain := plainBranch(branch)
	if !plain {
		clean(b[start:])
	}
	h.shut(f, b)
	h.vias[1] = h.vias[0]
	m := &h.vias[0]
	if *m = t.mark; plain && m.at != 0 {
		m.at, m.branchEnd = f.at, m.branch+uint16(len(branch))
	} else {
		h.noteVia(0, h.value(f), f.at)
	}
	h.needLength()
}

// plainBranch reports whether b is a parameter value and nothing else, of 8 to 255 bytes from '-' on, as ours are. It looks at eight at a time.
func plainBranch(b []byte) bool {
	if len(b) < 8 || len(b) > 255 {
		return false
	}
	odd := oddInBranch(binary.LittleEndian.Uint64(b[len(b)-8:]))
	for ; len(b) > 8; b = b[8:] {
		odd |= oddInBranch(binary.LittleEndian.Uint64(b))
	}
	return odd == 0
}

// oddInBranch is 0 when all bytes of w are from '-' on, ASCII, and neither ';' nor DEL.
func oddInBranch(w uint64) uint64 {
	return ((w-'-'*ones)&^w|w|(w+ones))&highs | find(w, ';')
}

// openVia is open for a new topmost Via.
//
//go:noinline
func (h *Header) openVia() (f *field, b []byte) {
	const name = "Via: "
	f = h.insert(max(0, h.first(idVia)), idVia)
	f.at, f.val = uint32(len(h.arena))|arenaBit, uint16(len(name))
	return f, append(h.arena, name...)
}

// PopVia removes the topmost Via value and reports whether there was one. Like PushVia it makes sure of a Content-Length.
func (h *Header) PopVia() bool {
	i := h.first(idVia)
	if i < 0 {
		return false
	}
	switch m := h.via(&h.list()[i]); {
	case m == nil:
		h.pop(i)
	case m.list:
		h.popListed(i, m)
	default:
		h.remove(i)
	}
	h.needLength()
	return true
}

// popListed takes the first Via off field i, which m marks.
//
//go:noinline
func (h *Header) popListed(i int, m *viaMark) {
	f := &h.list()[i]
	all := h.value(f)
	h.rewrite(f, 0, listed(all, strings.IndexByte(all, ',')), "")
	if m != &h.vias[0] {
		h.noteVia(1, h.value(f), f.at)
		return
	}
	if next := h.vias[1]; next.at == 0 && next.list {
		next.at, next.list = f.at, false
		h.vias = [2]viaMark{next}
		return
	}
	h.noteVia(0, h.value(f), f.at)
}

// SetViaReceived writes received and/or rport into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4); "" and 0 leave it alone.
func (h *Header) SetViaReceived(received string, rport uint16) {
	i := h.first(idVia)
	if i < 0 || received == "" && rport == 0 {
		return
	}
	h.begin()
	f := &h.list()[i]
	all := h.value(f)
	one := len(all)
	if c := commaAt(all); c >= 0 {
		one = c
	}
	b, _ := h.reopen(f)
	b = appendReceived(b, all[:one], received, rport)
	h.shut(f, append(b, all[one:]...))
	if h.noteVia(0, h.value(f), f.at); h.vias[0].at == 0 {
		h.flags |= oddField
	}
}

// appendReceived copies one Via value with the parameters in place where they were, else behind the others.
func appendReceived(b []byte, v, received string, rport uint16) []byte {
	v = trim(v)
	semi := 0
	for semi < len(v) && v[semi] != ';' {
		semi++
	}
	b = append(b, v[:semi]...)
	p := Params(v[semi:])
	for i := 0; ; {
		q, ok := p.next(i)
		if !ok {
			break
		}
		i = q.end
		switch {
		case rport != 0 && equalFold(q.name, "rport"):
			b = appendRport(b, rport)
			rport = 0
		case received != "" && equalFold(q.name, "received"):
			b = appendParam(b, ";received=", received)
			received = ""
		default:
			b = append(b, p[q.start:q.end]...)
		}
	}
	if received != "" {
		b = appendParam(b, ";received=", received)
	}
	if rport != 0 {
		b = appendRport(b, rport)
	}
	return b
}

func appendParam(b []byte, name, value string) []byte {
	b = append(b, name...)
	return appendClean(b, value)
}

func appendRport(b []byte, rport uint16) []byte {
	b = append(b, ";rport="...)
	return appendNumber(b, uint32(rport))
}

// SetMaxForwards writes the Max-Forwards field.
func (h *Header) SetMaxForwards(n int) { h.setNumber(idMaxForwards, n) }

// SetMaxBreadth writes the Max-Breadth field (RFC 5393 §5.3.1).
func (h *Header) SetMaxBreadth(n int) { h.setNumber(idMaxBreadth, n) }

// setNumber writes a field whose value is a number, once; a received field keeps its name as written and its place.
func (h *Header) setNumber(id fieldID, n int) {
	h.begin()
	if id == idContentLength {
		h.flags &^= lenBad | lenTwo | lenShort | lenNone
	}
	f := h.field(id)
	if f == nil || f.valLen == 0 { // with no value, the line end is what lies before it
		h.addNumber(id, n)
		return
	}
	b, _ := h.reopen(f)
	h.shut(f, appendInt(b, n))
	if h.flags&twice != 0 || id-idVia >= placedIDs { // others are not counted
		h.delFrom(id, "", h.first(id)+1)
	}
}

// addNumber is setNumber where there is no such field, or none that can be copied.
//
//go:noinline
func (h *Header) addNumber(id fieldID, n int) {
	i := h.first(id)
	if i >= 0 {
		h.delFrom(id, "", i+1)
		h.writeNumber(&h.list()[i], n)
		return
	}
	at := len(h.list())
	if id != idContentLength {
		at = h.topAt(id, fieldNames[id])
	}
	h.writeNumber(h.insert(at, id), n)
}

func (h *Header) writeNumber(f *field, n int) {
	h.shut(f, appendInt(h.open(f, fieldNames[f.id]), n))
}

func appendInt(b []byte, n int) []byte {
	if uint64(n) > 1<<32-1 {
		return strconv.AppendInt(b, int64(n), 10)
	}
	return appendNumber(b, uint32(n))
}

// SetToTag adds or replaces the tag of To.
func (h *Header) SetToTag(tag string) {
	i := h.first(idTo)
	if i < 0 {
		return
	}
	h.begin()
	f := &h.list()[i]
	v := h.value(f)
	at := addrParamsAt(v)
	q, ok := Params(v[at:]).find("tag")
	if !ok {
		q.start, q.end = len(v)-at, len(v)-at
	}
	b, _ := h.reopen(f)
	b = appendParam(append(b, v[:at+q.start]...), ";tag=", tag)
	h.shut(f, append(b, v[at+q.end:]...))
	h.flags |= oddField
}

// SetBody replaces the body, Content-Type and Content-Length; an empty body removes Content-Type.
func (h *Header) SetBody(contentType, body string) {
	h.begin()
	h.newBody = body
	h.flags |= bodyNew
	h.trailing = 0
	if body == "" {
		h.Del("Content-Type")
	} else {
		h.Set("Content-Type", contentType)
	}
	h.setNumber(idContentLength, len(body))
}

// needLength adds a Content-Length when there is none.
func (h *Header) needLength() {
	if h.firsts[idContentLength-idVia] == 0 {
		h.makeLength()
	}
}

//go:noinline
func (h *Header) makeLength() {
	if h.first(idContentLength) < 0 {
		h.setNumber(idContentLength, len(h.Body()))
	}
}

// fixLength sets Content-Length right after an edit of a field with that id.
func (h *Header) fixLength(id fieldID) {
	if id == idContentLength {
		h.setNumber(idContentLength, len(h.Body()))
	}
}
