package registrar

// An index finds texts by the hash of their address: open addressing with linear probing in one slice. Looking one up costs one cache
// miss here and one for the text; the entry, which only expiry needs, is not touched. Not safe for concurrent use.
type index struct {
	slots []slot // the length is a power of two
	used  int
}

// A slot is 16 bytes, so never in two cache lines. Without a text it is empty.
type slot struct {
	text  text
	tag   uint32
	place uint32 // of the entry
}

const (
	leastSlots = 8
	nowhere    = -1
)

// tagOf is the part of a hash that is kept; its lowest bits are the slot. The highest bits choose the shard.
func tagOf(hash uint64) uint32 { return uint32(hash) }

func (x *index) home(tag uint32) int { return int(tag) & (len(x.slots) - 1) }

// find returns the slot of aor, nowhere when it has none.
func (x *index) find(hash uint64, aor AOR) int {
	if x.used == 0 {
		return nowhere
	}
	tag, mask := tagOf(hash), len(x.slots)-1
	for at := int(tag) & mask; ; at = (at + 1) & mask {
		switch s := &x.slots[at]; {
		case s.text.none():
			return nowhere
		case s.tag == tag && s.text.aor() == aor:
			return at
		}
	}
}

// holds returns the slot of the entry at a place, which is there.
func (x *index) holds(tag, place uint32) int {
	at := x.home(tag)
	for x.slots[at].place != place {
		at = (at + 1) & (len(x.slots) - 1)
	}
	return at
}

// add puts in a text that is not there.
func (x *index) add(s slot) {
	if x.used >= len(x.slots)/4*3 {
		x.grow()
	}
	x.put(s)
	x.used++
}

func (x *index) put(s slot) {
	at := x.home(s.tag)
	for !x.slots[at].text.none() {
		at = (at + 1) & (len(x.slots) - 1)
	}
	x.slots[at] = s
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, max(leastSlots, 2*len(old)))
	for i := range old {
		if !old[i].text.none() {
			x.put(old[i])
		}
	}
}

// remove empties the slot at and moves up those behind it that would not be found any more.
func (x *index) remove(at int) {
	x.used--
	mask := len(x.slots) - 1
	for next := (at + 1) & mask; !x.slots[next].text.none(); next = (next + 1) & mask {
		if (next-x.home(x.slots[next].tag))&mask >= (next-at)&mask {
			x.slots[at] = x.slots[next]
			at = next
		}
	}
	x.slots[at] = slot{}
}
