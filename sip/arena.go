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
		h.copyField(f, h, f)
	}
}

// setStart takes the arena behind from, and a line end, as the start line.
func (h *Header) setStart(from int) {
	h.arena = append(h.arena, "\r\n"...)
	h.start = span{uint32(from) | arenaBit, uint32(len(h.arena) - from)}
}

// appendClean appends a value without line breaks: what comes from outside must not start a field of its own.
func appendClean(b []byte, s string) []byte {
	from := len(b)
	b = append(b, s...)
	clean(b[from:])
	return b
}

// clean makes spaces of the line breaks in b. It looks at eight bytes at a time, and nearly always that is all.
//
//go:noinline
func clean(b []byte) {
	if len(b) >= 8 {
		odd := controlIn(binary.LittleEndian.Uint64(b[len(b)-8:]))
		for rest := b; len(rest) > 8; rest = rest[8:] {
			odd |= controlIn(binary.LittleEndian.Uint64(rest))
		}
		if odd == 0 {
			return
		}
	}
	for i, c := range b {
		if c == '\r' || c == '\n' {
			b[i] = ' '
		}
	}
}

// open starts a line for f behind the arena: name, colon, space. The caller appends the value to what it gives and hands that to shut.
func (h *Header) open(f *field, name string) []byte {
	h.begin()
	b := append(h.arena, name...)
	if f.id != idBad {
		b = append(b, ": "...)
	}
	f.at, f.val = uint32(len(h.arena))|arenaBit, uint16(len(b)-len(h.arena))
	return b
}

// reopen is open with the name of f and what stands between it and the value, which it gives too.
func (h *Header) reopen(f *field) (b []byte, value string) {
	if f.valLen == 0 { // then the line end is between them
		return h.open(f, h.name(f)), ""
	}
	h.begin()
	line := h.piece(f.at, uint32(f.val)+uint32(f.valLen))
	f.at = uint32(len(h.arena)) | arenaBit
	return append(h.arena, line[:f.val]...), line[f.val:]
}

// shut ends the line that open began, of which b is the value's end, and makes it part of the arena.
//
//go:noinline
func (h *Header) shut(f *field, b []byte) {
	n := len(b) - len(h.arena)
	if n > maxLine-2 {
		b, n = b[:len(h.arena)+maxLine-2], maxLine-2 // a line that no index entry can hold; Set documents it
	}
	f.size, f.valLen = uint16(n+2), uint16(n-int(f.val))
	h.arena = append(b, "\r\n"...)
}

// shutClean is shut for a value that may hold line breaks, which become spaces.
func (h *Header) shutClean(f *field, b []byte) {
	clean(b[len(h.arena)+int(f.val):])
	h.shut(f, b)
}

// write makes f a line in the arena.
func (h *Header) write(f *field, name, value string) {
	h.shutClean(f, append(h.open(f, name), value...))
}

// rewrite makes f a line in the arena in which the bytes [from, to) of the value are replaced. The name stays as written.
func (h *Header) rewrite(f *field, from, to int, with string) {
	b, v := h.reopen(f)
	b = appendClean(append(b, v[:from]...), with)
	h.shut(f, append(b, v[to:]...))
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

// insert makes room for a field at i, of which the caller writes the rest.
//
//go:noinline
func (h *Header) insert(i int, id fieldID) *field {
	h.begin()
	h.slot()
	l := h.list()[i:]
	copy(l[1:], l)
	l[0].id = id
	h.inserted(id, i)
	return &l[0]
}

func (h *Header) remove(i int) {
	h.begin()
	l := h.list()
	id := l[i].id
	copy(l[i:], l[i+1:])
	h.unslot()
	h.removed(id, i)
}
