package sip

import "strings"

// arenaSize holds the edits of a forwarded request: Via, Record-Route, Max-Forwards, a Request-URI.
const arenaSize = 384

// begin readies the overlay for an edit.
func (h *Header) begin() {
	if h.flags&edited != 0 {
		return
	}
	h.flags |= edited
	if h.arena == nil {
		h.arena = make([]byte, 0, arenaSize)
	}
	if h.flags&noTail != 0 {
		h.closeLines()
	}
}

// closeLines gives a message that was cut off the line end and the empty line that printing relies on.
func (h *Header) closeLines() {
	h.flags = h.flags&^noTail | bodyNew
	l := h.list()
	if len(l) == 0 {
		if !strings.HasSuffix(h.startLine(), "\n") {
			h.setStart(append(h.arena, h.startLine()...))
		}
		return
	}
	f := &l[len(l)-1]
	if !strings.HasSuffix(h.piece(f.src, f.start, f.end), "\n") {
		*f = h.copyField(h, f)
	}
}

// setStart takes what was appended to the arena, and a line end, as the start line.
func (h *Header) setStart(b []byte) {
	from := len(h.arena)
	h.arena = append(b, "\r\n"...)
	h.start = span{uint32(from), uint32(len(h.arena)), inArena}
}

// appendClean appends a value without line breaks: what comes from outside must not start a field of its own.
func appendClean(b []byte, s string) []byte {
	if strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 {
		return append(b, s...)
	}
	for i := range len(s) {
		if c := s[i]; c == '\r' || c == '\n' {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return b
}

// open starts a field line in the arena: name, colon, space.
func (h *Header) open(id fieldID, name string) field {
	h.begin()
	f := field{start: uint32(len(h.arena)), id: id, src: inArena, nameLen: uint16(len(name))}
	h.arena = append(h.arena, name...)
	h.arena = append(h.arena, ": "...)
	f.val = uint32(len(h.arena))
	return f
}

// shut ends the line that open began; the value was appended in between.
func (h *Header) shut(f field) field {
	f.valEnd = uint32(len(h.arena))
	h.arena = append(h.arena, "\r\n"...)
	f.end = uint32(len(h.arena))
	return f
}

func (h *Header) make(id fieldID, name, value string) field {
	f := h.open(id, name)
	h.arena = appendClean(h.arena, value)
	return h.shut(f)
}

// rewrite gives a copy of f in the arena in which the bytes [from, to) of the value are replaced. The name stays as written.
func (h *Header) rewrite(f *field, from, to uint32, with string) field {
	g := h.reopen(f)
	h.arena = append(h.arena, h.piece(f.src, f.val, from)...)
	h.arena = appendClean(h.arena, with)
	h.arena = append(h.arena, h.piece(f.src, to, f.valEnd)...)
	return h.shut(g)
}

// reopen is open with the name of f.
func (h *Header) reopen(f *field) field {
	h.begin()
	g := field{start: uint32(len(h.arena)), id: f.id, src: inArena, nameLen: f.nameLen}
	h.arena = append(h.arena, h.piece(f.src, f.start, f.start+uint32(f.nameLen))...)
	if f.id != idBad {
		h.arena = append(h.arena, ": "...)
	}
	g.val = uint32(len(h.arena))
	return g
}

func (h *Header) insert(i int, f field) {
	h.append(f)
	l := h.list()
	copy(l[i+1:], l[i:])
	l[i] = f
}

func (h *Header) remove(i int) {
	h.begin()
	l := h.list()
	copy(l[i:], l[i+1:])
	h.count--
	if h.more != nil {
		h.more = h.more[:h.count]
	}
}
