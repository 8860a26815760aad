package sip

import (
	"iter"
	"strings"
	"unsafe"
)

// A Header is the ordered header fields and the body of a message: one immutable received text, an index of
// its fields, and edits as an overlay. Field names compare without case and compact names equal the
// long ones everywhere. Comma-separated values equal separate fields for those names whose grammar is a list.
// Reading is safe for concurrent use as long as nobody edits; reading never allocates unless it says so.
// A Header must not be copied by assignment once it was edited; Clone the message.
type Header struct {
	text    string   // what was received: start line, header fields, body
	arena   []byte   // what was edited, append-only: strings handed out point into it and stay what they were
	more    *[]field // all fields, when they are more than inline holds
	newBody string

	start    span   // start line with its line end
	tail     uint32 // where empty line and body start in text, unless the body was replaced
	trailing uint32
	count    uint16
	flags    flags
	places
	marks
	inline [inlineFields]field // behind all pointers, so that the collector need not look at it
}

const inlineFields = 24

// A field is one header field line, folds included. It is small because every message carries two dozen.
type field struct {
	at          uint32 // where the line starts: an offset into text, or into arena with arenaBit
	size        uint16 // length of the line with its end; a longer one is refused, see maxLine
	val, valLen uint16 // the value, from the start of the line
	id          fieldID
}

const (
	arenaBit = 1 << 31
	maxLine  = 1<<16 - 1
)

// A span is a piece of text or arena, at as in field.
type span struct{ at, size uint32 }

type flags uint16

const (
	edited      flags = 1 << iota // print must go over the fields
	bodyNew                       // newBody counts, not tail
	noTail                        // no empty line behind the header fields
	lenShort                      // Content-Length is larger than what followed
	lenBad                        // Content-Length is no number
	lenTwo                        // Content-Lengths differ
	lenNone                       // a stream without Content-Length
	tooLarge                      // a stream reader's limit was exceeded
	tooMany                       // more than maxIndexed lines
	startFolded                   // a folded start line
	startOdd                      // blanks in the start line beyond one between the parts (§7.1)
	versionOdd                    // not SIP/2.0
	oddField                      // Valid must look at every field: parsing or an edit found one that is not as in everyday calls
	twice                         // a field of the ids in places, but Via, may be there more than once
	bareLF                        // a line of the header, or the empty one, ends without CR (§7)
)

// Head gives the header fields and body.
func (h *Header) Head() *Header { return h }

// Revision is another number after every edit of header fields or body that changed something: the overlay only grows, and a field that goes is missed. It
// says nothing across messages.
func (h *Header) Revision() uint64 { return uint64(len(h.arena))<<16 | uint64(h.count) }

func (h *Header) list() []field {
	if h.more != nil {
		return *h.more
	}
	return h.inline[:h.count]
}

// piece gives bytes of text or arena as a string. The arena is append-only, so the string never changes.
//
// This and other small functions that much of the package uses are not inlined: one copy of them is in the cache when the next caller wants it.
//
//go:noinline
func (h *Header) piece(at, size uint32) string {
	if at&arenaBit == 0 {
		return h.text[at : at+size]
	}
	at &^= arenaBit
	b := h.arena[at : at+size]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (h *Header) line(f *field) string { return h.piece(f.at, uint32(f.size)) }

//go:noinline
func (h *Header) value(f *field) string {
	at, size := f.at+uint32(f.val), uint32(f.valLen)
	if at&arenaBit == 0 {
		return h.text[at : at+size]
	}
	return h.piece(at, size)
}

func (h *Header) name(f *field) string {
	if f.id == idBad {
		return ""
	}
	line := h.line(f)
	i := 0
	for i < len(line) && is(line[i], isToken) {
		i++
	}
	return line[:i]
}

// is reports whether a field has that name, whose id the caller has looked up.
func (h *Header) is(f *field, id fieldID, name string) bool {
	return f.id == id && (id != idOther || equalFold(h.name(f), name))
}

// find is the index of the first field of that name from index i on, or -1.
func (h *Header) find(id fieldID, name string, i int) int {
	if i == 0 && id != idOther {
		return h.first(id)
	}
	l := h.list()
	for ; i < len(l); i++ {
		if l[i].id == id && (id != idOther || equalFold(h.name(&l[i]), name)) {
			return i
		}
	}
	return -1
}

// field is the first field with that id, nil when there is none.
//
//go:noinline
func (h *Header) field(id fieldID) *field {
	if k := id - idVia; k < placedIDs {
		if n := h.firsts[k]; n != 0 { // only where all fields are inline
			return &h.inline[n-1]
		}
	}
	i := h.first(id)
	if i < 0 {
		return nil
	}
	return &h.list()[i]
}

func (h *Header) get(id fieldID) string {
	s, _ := h.raw(id)
	return s
}

// Get returns the value of the first field of that name as written, folds included, without surrounding white space. "" when absent.
func (h *Header) Get(name string) string {
	id := lookupName(name)
	if id != idOther {
		return h.get(id)
	}
	if i := h.find(id, name, 0); i >= 0 {
		return h.value(&h.list()[i])
	}
	return ""
}

// Has reports whether there is a field of that name.
func (h *Header) Has(name string) bool {
	if id := lookupName(name); id != idOther {
		return h.field(id) != nil
	}
	return h.find(idOther, name, 0) >= 0
}

// All yields the raw value of each field line of that name.
func (h *Header) All(name string) iter.Seq[string] {
	return func(yield func(string) bool) { h.values(name, false, yield) }
}

// Values yields each comma-separated value over all fields of that name (list headers only; others as All).
func (h *Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) { h.values(name, fieldLists[lookupName(name)], yield) }
}

func (h *Header) values(name string, split bool, yield func(string) bool) {
	id := lookupName(name)
	l := h.list()
	for i := range l {
		if !h.is(&l[i], id, name) {
			continue
		}
		v := h.value(&l[i])
		if !split {
			if !yield(v) {
				return
			}
			continue
		}
		for rest := v; rest != ""; {
			if v, rest = cutComma(rest); v != "" && !yield(v) {
				return
			}
		}
	}
}

// cutComma takes the first value of a comma list off. Commas in quoted strings and angle brackets do not separate.
func cutComma(s string) (value, rest string) {
	i := commaAt(s)
	if i < 0 {
		return trim(s), ""
	}
	return trim(s[:i]), s[i+1:]
}

// commaAt is the index of the comma behind the first value, -1 when there is none.
func commaAt(s string) int {
	if strings.IndexByte(s, ',') < 0 {
		return -1
	}
	quotes, angles := true, true // false: one never ends, and so none behind it does. To look again each time would take the square of the length
	for i := 0; i < len(s); {
		switch s[i] {
		case ',':
			return i
		case '"':
			if !quotes {
				break
			}
			if end := skipQuoted(s, i); end > 0 {
				i = end
				continue
			}
			quotes = false
		case '<':
			if !angles {
				break
			}
			end := strings.IndexByte(s[i:], '>')
			if angles = end > 0; angles {
				i += end
			}
		}
		i++
	}
	return -1
}

// Fields yields name as written and raw value of every field in order. A line that is no field has an empty name.
func (h *Header) Fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		l := h.list()
		for i := range l {
			if !yield(h.name(&l[i]), h.value(&l[i])) {
				return
			}
		}
	}
}

// HasToken reports whether one of the comma-separated values of the named field equals token without case (Require, Supported, Allow ...).
func (h *Header) HasToken(name, token string) bool {
	found := false
	h.values(name, true, func(v string) bool {
		found = equalFold(v, token)
		return !found
	})
	return found
}

// Trailing is the number of bytes dropped behind the body of a datagram.
func (h *Header) Trailing() int { return int(h.trailing) }

// bodyAt is where the body starts in text.
func (h *Header) bodyAt() int {
	i := int(h.tail)
	if i < len(h.text) && h.text[i] == '\r' {
		i++
	}
	return min(i+1, len(h.text))
}

// Body returns the body.
func (h *Header) Body() string {
	if h.flags&bodyNew != 0 {
		return h.newBody
	}
	return h.text[h.bodyAt():]
}
