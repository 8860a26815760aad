package sip

import "encoding/binary"

// places tell where the fields are that are asked for at every message, so that they need not be searched for.
type places struct {
	present uint32           // a bit for each id modulo 32: 0 when there is no field with it for sure
	firsts  [placedIDs]uint8 // the number, from 1, of the first field with each id from idVia on; 0 when it must be searched
}

const placedIDs = 8

// placed notes that the field of that number, from 1, was added at the end.
func (h *Header) placed(id fieldID, number int) {
	h.present |= 1 << (id & 31)
	k := id - idVia
	if k >= placedIDs {
		return
	}
	if h.firsts[k] == 0 && number <= inlineFields {
		h.firsts[k] = uint8(number)
		return
	}
	if id != idVia {
		h.flags |= twice
	}
}

// first is the index of the first field with that id, -1 when there is none.
//
//go:noinline
func (h *Header) first(id fieldID) int {
	if h.present>>(id&31)&1 == 0 {
		return -1
	}
	if k := id - idVia; k < placedIDs {
		if n := h.firsts[k]; n != 0 {
			return int(n) - 1
		}
	}
	l := h.list()
	for i := range l {
		if l[i].id == id {
			return i
		}
	}
	return -1
}

// inserted notes that a field came to be at i.
func (h *Header) inserted(id fieldID, i int) {
	fresh := h.present>>(id&31)&1 == 0
	h.present |= 1 << (id & 31)
	h.flags |= oddField
	k := id - idVia
	if !fresh && k < placedIDs && id != idVia {
		h.flags |= twice
	}
	if h.more != nil {
		h.firsts = [placedIDs]uint8{}
		return
	}
	h.shift(i, 1)
	if k < placedIDs && (fresh || int(h.firsts[k]) > i) {
		h.firsts[k] = uint8(i + 1)
	}
}

// removed notes that a field went from i.
func (h *Header) removed(id fieldID, i int) {
	if h.more != nil {
		return
	}
	if k := id - idVia; k < placedIDs && int(h.firsts[k]) == i+1 {
		h.firsts[k] = 0
	}
	h.shift(i+1, ^uint64(0))
}

// shift adds by, which is 1 or -1, to the numbers over n, all in one go: added to what makes a byte over n reach its highest bit, each byte tells
// by that bit whether it is meant. None overflows, for numbers and n are at most inlineFields and 1 more.
func (h *Header) shift(n int, by uint64) {
	const each = 0x0101010101010101
	all := binary.LittleEndian.Uint64(h.firsts[:])
	over := (all + each*uint64(127-n)) & (each << 7)
	binary.LittleEndian.PutUint64(h.firsts[:], all+over>>7*by)
}
