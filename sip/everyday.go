package sip

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// The names of fields that nearly every message carries, in their usual spelling, are looked up as two words of eight bytes: the line is
// searched for its colon and the name is hashed and compared eight bytes at a time, and the table is small enough to stay in a cache.

// An everydayWord is a name of at most 15 bytes and its colon, without which a NUL at its end would not be seen: the first eight bytes, and
// seven more with the id above them. (The colon behind 15 bytes is nowhere else, so it need not be compared.)
type everydayWord struct{ head, tail uint64 }

const (
	everydaySlots = 32
	everydayHash  = 0x1d20b4582a6c9675 // found by trial: gives each of these names a slot of its own
	everydayLen   = 16                 // bytes of a line that must be there for that
	idShift       = 56                 // of the tail: what is below are bytes of the name
)

var everyday = makeEveryday()

func makeEveryday() (t [everydaySlots]everydayWord) {
	for _, id := range [...]fieldID{
		idVia, idFrom, idTo, idCallID, idCSeq, idMaxForwards, idContact, idContentLength, idContentType, idRoute, idRecordRoute, idPath,
		idRequire, idProxyRequire, idSupported, idAllow, idExpires, idAuthorization, idAccept, idEvent, idMaxBreadth, idMinSE, idReason,
		idServer, idSessionExpires, idSubject, idUserAgent,
	} {
		head, tail := words(fieldNames[id])
		t[everydaySlot(head, tail)] = everydayWord{head, tail&(1<<idShift-1) | uint64(id)<<idShift}
	}
	return t
}

// words are the 16 bytes of s, which has at most 15, and a colon.
func words(s string) (head, tail uint64) {
	var b [everydayLen]byte
	b[copy(b[:everydayLen-1], s)] = ':'
	return binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
}

// everydaySlot is the place of a name in the table; the last byte of the tail does not count.
func everydaySlot(head, tail uint64) uint64 {
	return (head ^ tail<<8) * everydayHash >> (64 - 5)
}

// everydayID is the id of the name in two words, idOther when it is none of these.
func everydayID(head, tail uint64) fieldID {
	e := &everyday[everydaySlot(head, tail)]
	if e.head != head || (e.tail^tail)<<8 != 0 {
		return idOther
	}
	return fieldID(e.tail >> idShift)
}

// word is the first eight bytes of s.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// colonIn gives a word in which the lowest bit of the byte is set where the first colon of w is, 0 when there is none.
func colonIn(w uint64) uint64 {
	const ones = 0x0101010101010101
	w ^= ':' * ones
	w = (w - ones) &^ w & (ones << 7) // the lowest bit set is that of the first byte that is zero
	return w & -w >> 7
}

// everyday reads the field line at the start of text into f, but for at, and gives its size, when it is one of these names, a colon, one blank, a value that
// begins and ends with neither blank nor control character, and CRLF, with no fold behind. For any other line it gives 0.
func (f *field) everyday(text string) int {
	size := strings.IndexByte(text, '\n') + 1
	if len(text) < everydayLen || size >= len(text) || size > maxLine {
		return 0
	}
	head, tail, val := word(text), uint64(0), 2
	colon := colonIn(head)
	if colon != 0 {
		head &= colon<<8 - 1 // name and colon, nothing behind
	} else {
		tail, val = word(text[8:]), 8+2
		if colon = colonIn(tail); colon == 0 {
			return 0
		}
		tail &= colon<<8 - 1
	}
	id := everydayID(head, tail)
	val += bits.TrailingZeros64(colon) / 8
	end := size - 2
	if id == idOther || val >= end {
		return 0
	}
	if text[val-1] != ' ' || text[val] <= ' ' || text[end-1] <= ' ' || text[end] != '\r' || isBlank(text[size]) {
		return 0
	}
	f.size, f.val, f.valLen, f.id = uint16(size), uint16(val), uint16(end-val), id
	return size
}

// controlIn is 0 when all bytes of w are at least the blank.
func controlIn(w uint64) uint64 {
	const ones = 0x0101010101010101
	return (w - ' '*ones) &^ w & (ones << 7)
}
