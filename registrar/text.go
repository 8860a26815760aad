package registrar

import (
	"encoding/binary"
	"unsafe"
)

// A text is what is stored of an address-of-record, one piece of memory that is never changed:
//
//	text = aorlen32 statelen32 aor state    ; integers little-endian
//
// It is one word, so that a slot of the index has room for it and a lookup finds the bindings with two cache misses, the slot
// and the text. The zero text is none.
type text struct{ first *byte }

// textHeader is the length of what precedes the address.
const textHeader = 8

// noHeader is room for it.
var noHeader [textHeader]byte

// makeText copies b, which holds room for the header, an address of aorLen octets and its bindings.
func makeText(b []byte, aorLen int) text {
	binary.LittleEndian.PutUint32(b, uint32(aorLen))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-textHeader-aorLen))
	return text{unsafe.StringData(string(b))}
}

// appendText appends room for the header and the address to b, for makeText.
func appendText(b []byte, aor AOR) []byte {
	return append(append(b, noHeader[:]...), aor...)
}

func (t text) none() bool { return t.first == nil }

// split must not be asked of the zero text. makeText wrote the lengths, so they do not exceed the memory.
func (t text) split() (aor AOR, state string) {
	h := (*[textHeader]byte)(unsafe.Pointer(t.first))
	n := int(binary.LittleEndian.Uint32(h[:]))
	all := unsafe.String(t.first, textHeader+n+int(binary.LittleEndian.Uint32(h[4:])))
	return AOR(all[textHeader : textHeader+n]), all[textHeader+n:]
}

// aor of the zero text is "".
func (t text) aor() (aor AOR) {
	if !t.none() {
		aor, _ = t.split()
	}
	return aor
}

// state returns the packed bindings; "" for the zero text.
func (t text) state() (state string) {
	if !t.none() {
		_, state = t.split()
	}
	return state
}
