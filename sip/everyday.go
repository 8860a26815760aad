package sip

import (
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
	n := len(s)
	switch {
	case n > 8:
		// The last eight bytes, of which 16-n are in the head already.
		return wordAt(s, 0), wordAt(s, n-8)>>(8*(16-n)) | ':'<<(8*(n-8))
	case n == 8:
		return wordAt(s, 0), ':'
	}
	for i := n - 1; i >= 0; i-- {
		head = head<<8 | uint64(s[i])
	}
	return head | ':'<<(8*n), 0
}

// everydaySlot is the place of a name in the table; the last byte of the tail does not count.
func everydaySlot(head, tail uint64) uint64 {
	return (head ^ tail<<8) * everydayHash >> (64 - 5)
}

// is reports whether e is the name in two words.
func (e *everydayWord) is(head, tail uint64) bool { return e.head == head && (e.tail^tail)<<8 == 0 }

func (e *everydayWord) id() fieldID { return fieldID(e.tail >> idShift) }

// everydayID is the id of the name in two words, idOther when it is none of these.
func everydayID(head, tail uint64) fieldID {
	if e := &everyday[everydaySlot(head, tail)]; e.is(head, tail) {
		return e.id()
	}
	return idOther
}

const (
	ones  = 0x0101010101010101
	highs = ones << 7
)

// wordAt is the eight bytes of s from i on.
func wordAt(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// find gives a word whose lowest bit set is the highest one of the first byte of w that is c, 0 when there is none.
func find(w uint64, c byte) uint64 {
	w ^= uint64(c) * ones
	return (w - ones) &^ w & highs
}

// everyday indexes the field lines from i on that are a name, a colon, a blank or several, as SIPp has them before a length, a value that begins and ends with
// neither blank nor control character, and CRLF, with no fold behind. It gives the index of the first line that is any other. A message longer than a line may
// be is left to oddLine.
func (h *Header) everyday(i int) int {
	text, n := h.text, int(h.count)
	if len(text) > maxLine {
		return i
	}
	for ; n < inlineFields && len(text)-i > everydayLen; n++ {
		line := text[i:]
		head, tail, blank := wordAt(line, 0), uint64(0), 0
		if colon := find(head, ':'); colon != 0 {
			head &= colon ^ (colon - 1) // name and colon, nothing behind
			blank = bits.TrailingZeros64(colon)/8 + 1
		} else if colon = find(wordAt(line, 8), ':'); colon != 0 {
			tail = wordAt(line, 8) & (colon ^ (colon - 1))
			blank = bits.TrailingZeros64(colon)/8 + 9
		}
		e := &everyday[everydaySlot(head, tail)]
		id := e.id()
		if !e.is(head, tail) {
			if id, blank = rareName(line); id == idBad {
				break
			}
		}
		if len(line)-blank < len(" v\r\n") {
			break
		}
		rest := line[blank:]
		lf := strings.IndexByte(rest, '\n')
		if lf < 3 || lf >= len(rest)-1 || rest[0] != ' ' || !usualEnd(rest[lf-2:lf+2]) {
			break
		}
		val := 1
		if rest[1] <= ' ' {
			if val = behindBlanks(rest[:lf]); val == 0 {
				break
			}
		}
		f := &h.inline[n]
		f.at, f.size, f.val, f.valLen, f.id = uint32(i), uint16(blank+lf+1), uint16(blank+val), uint16(lf-1-val), id
		h.placed(id, n+1)
		if id-idVia <= idTo-idVia {
			h.note(id, uint32(i), rest[val:lf-1])
		}
		i += blank + lf + 1
	}
	h.count = uint16(n)
	return i
}

// rareName is the id of the name at the start of a line and the index behind its colon, idBad when there is no name or no colon.
//
//go:noinline
func rareName(line string) (id fieldID, end int) {
	n := run(line, 0, isToken)
	if n == 0 || n == len(line) || line[n] != ':' {
		return idBad, 0
	}
	return tableName(line[:n]), n + 1
}

// behindBlanks is the index of the value at the end of s, before which are blanks; 0 when it is behind something else.
//
//go:noinline
func behindBlanks(s string) int {
	n := 0
	for n < len(s) && s[n] == ' ' {
		n++
	}
	if n == len(s) || s[n] < ' ' {
		return 0
	}
	return n
}

// usualEnd reports whether the last byte of a value, CR, LF and the first byte of the next line are as usual.
func usualEnd(s string) bool {
	_ = s[3]
	w := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
	next := byte(w >> 24)
	return byte(w) > ' ' && byte(w>>8) == '\r' && (next > ' ' || next == '\r')
}

// controlIn is 0 when all bytes of w are at least the blank.
func controlIn(w uint64) uint64 {
	return (w - ' '*ones) &^ w & highs
}
