package registrar

// An index finds the places of addresses-of-record by hash: open addressing with linear probing in one slice without
// pointers, so that a lookup costs one cache miss here and the collector nothing. Not safe for concurrent use.
type index struct {
	slots []uint64 // tag<<32 | place; 0: empty. The length is a power of two
	used  int
}

const leastSlots = 8

// tagOf is the part of a hash that is kept; its lowest bits are the slot. The highest bits choose the shard.
func tagOf(hash uint64) uint32 { return uint32(hash) }

func (x *index) home(slot uint64) int { return int(slot>>32) & (len(x.slots) - 1) }

// find returns the place of aor in l and the slot that says so; place is 0 when there is none.
func (x *index) find(hash uint64, l []entry, aor AOR) (place uint32, at int) {
	if x.used == 0 {
		return 0, 0
	}
	tag, mask := tagOf(hash), len(x.slots)-1
	for at = int(tag) & mask; x.slots[at] != 0; at = (at + 1) & mask {
		if s := x.slots[at]; uint32(s>>32) == tag && l[uint32(s)].aor() == aor {
			return uint32(s), at
		}
	}
	return 0, 0
}

// add puts in a place that is not there.
func (x *index) add(hash uint64, place uint32) {
	if x.used >= len(x.slots)/4*3 {
		x.grow()
	}
	x.put(uint64(tagOf(hash))<<32 | uint64(place))
	x.used++
}

func (x *index) put(slot uint64) {
	at := x.home(slot)
	for x.slots[at] != 0 {
		at = (at + 1) & (len(x.slots) - 1)
	}
	x.slots[at] = slot
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]uint64, max(leastSlots, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			x.put(s)
		}
	}
}

// remove empties the slot at and moves up those behind it that would not be found any more.
func (x *index) remove(at int) {
	x.used--
	mask := len(x.slots) - 1
	for next := (at + 1) & mask; x.slots[next] != 0; next = (next + 1) & mask {
		if (next-x.home(x.slots[next]))&mask >= (next-at)&mask {
			x.slots[at] = x.slots[next]
			at = next
		}
	}
	x.slots[at] = 0
}
