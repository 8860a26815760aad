package sip

import (
	"encoding/binary"
	"strings"
)

// begin readies the overlay for an edit.
func (h *Header) begin() {
	if h.flags&edited != 0 {
		return
	}
	h.flags |= edited
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
			from := len(h.arena)
			h.arena = append(h.arena, h.startLine()...)
			h.setStart(from)
		}
		return
	}
	f := &l[len(l)-1]
	if !strings.HasSuffix(h.line(f), "\n") {
		*f = h.copyField(h, f)
	}
}

// setStart takes the arena behind from, and a line end, as the start line.
func (h *Header) setStart(from int) {
	h.put("\r\n")
	h.start = span{uint32(from) | arenaBit, uint32(len(h.arena) - from)}
}

// put appends to the arena.
//
//go:noinline
func (h *Header) put(s string) { h.arena = append(h.arena, s...) }

// appendClean appends a value without line breaks: what comes from outside must not start a field of its own.
func appendClean(b []byte, s string) []byte {
	from := len(b)
	b = append(b, s...)
	clean(b[from:])
	return b
}

// clean makes spaces of the line breaks in b.
//
//go:noinline
func clean(b []byte) {
	n := 0
	for n+8 <= len(b) && controlIn(binary.LittleEndian.Uint64(b[n:])) == 0 {
		n += 8
	}
	for ; n < len(b); n++ {
		if c := b[n]; c == '\r' || c == '\n' {
			b[n] = ' '
		}
	}
}

// open starts a field line in the arena: name, colon, space.
func (h *Header) open(id fieldID, name string) field {
	h.begin()
	f := field{at: uint32(len(h.arena)) | arenaBit, val: uint16(len(name)), id: id}
	h.put(name)
	if id != idBad {
		h.arena = append(h.arena, ": "...)
		f.val += 2
	}
	return f
}

// start is the offset into text or arena.
func (f *field) start() int { return int(f.at &^ arenaBit) }

// shut ends the line that open began; the value was appended in between.
func (h *Header) shut(f field) field {
	if n := len(h.arena) - f.start(); n > maxLine-2 {
		h.arena = h.arena[:f.start()+maxLine-2] // a line that no index entry can hold; Set documents it
	}
	f.valLen = uint16(len(h.arena) - f.start() - int(f.val))
	h.put("\r\n")
	f.size = uint16(len(h.arena) - f.start())
	return f
}

func (h *Header) make(id fieldID, name, value string) field {
	f := h.open(id, name)
	h.arena = appendClean(h.arena, value)
	return h.shut(f)
}

// rewrite gives a copy of f in the arena in which the bytes [from, to) of the value are replaced. The name stays as written.
func (h *Header) rewrite(f *field, from, to int, with string) field {
	g := h.reopen(f)
	v := h.value(f)
	h.put(v[:from])
	h.arena = appendClean(h.arena, with)
	h.put(v[to:])
	return h.shut(g)
}

// reopen is open with the name of f and what stands between it and the value.
func (h *Header) reopen(f *field) field {
	if f.valLen == 0 { // then the line end is between them
		return h.open(f.id, h.name(f))
	}
	h.begin()
	g := field{at: uint32(len(h.arena)) | arenaBit, val: f.val, id: f.id}
	h.put(h.piece(f.at, uint32(f.val)))
	return g
}

// slot appends an empty index entry.
func (h *Header) slot() *field {
	if h.more == nil && h.count < inlineFields {
		h.count++
		return &h.inline[h.count-1]
	}
	return h.slotMore()
}

//go:noinline
func (h *Header) slotMore() *field {
	if h.more == nil {
		l := append(make([]field, 0, 2*inlineFields), h.inline[:]...)
		h.more = &l
	}
	h.firsts = [placedIDs]uint8{}
	h.flags |= oddField | twice
	*h.more = append(*h.more, field{})
	h.count++
	return &(*h.more)[h.count-1]
}

// unslot takes the last index entry back.
func (h *Header) unslot() {
	h.count--
	if h.more != nil {
		*h.more = (*h.more)[:h.count]
	}
}

//go:noinline
func (h *Header) insert(i int, f field) {
	h.slot()
	l := h.list()
	copy(l[i+1:], l[i:])
	l[i] = f
	h.inserted(f.id, i)
}

func (h *Header) remove(i int) {
	h.begin()
	l := h.list()
	id := l[i].id
	copy(l[i:], l[i+1:])
	h.unslot()
	h.removed(id, i)
}
