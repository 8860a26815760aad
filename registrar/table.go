package registrar

// A table is one shard's addresses-of-record and the wheel of their expiry. Not safe for concurrent use.
//
// It is built for a collector that has millions of them to pass over: each address-of-record is one pointer, in the index,
// to one text without any; what the wheel needs of it lies apart and holds none.
type table struct {
	index   index
	entries []entry // place 0 is nobody's
	free    uint32  // head of the list of free places, linked by next
	wheel   wheel
}

// An entry is 24 bytes: what the wheel keeps of an address-of-record.
type entry struct {
	when       int64  // tick under which it is filed in the wheel: at or before the first binding expires
	prev, next uint32 // in its wheel slot
	tag        uint32 // by which the index finds it
	slot       uint16 // of the wheel
}

// find returns the slot of aor in the index, nowhere when it has none.
func (t *table) find(hash uint64, aor AOR) (at int) { return t.index.find(hash, aor) }

// state returns the packed bindings of aor, expired ones included; "" when there are none.
func (t *table) state(hash uint64, aor AOR) string {
	return t.stateAt(t.find(hash, aor))
}

func (t *table) stateAt(at int) string {
	if at == nowhere {
		return ""
	}
	return t.index.slots[at].text.state()
}

func (t *table) len() int { return t.index.used }

// insert adds a new address-of-record whose bindings are not empty.
func (t *table) insert(hash uint64, new text, now int64) {
	if t.entries == nil {
		t.entries = make([]entry, 1, 4)
		t.wheel.now = max(t.wheel.now, now/tick)
	}
	i := t.free
	if i != 0 {
		t.free = t.entries[i].next
	} else {
		i = uint32(len(t.entries))
		t.entries = append(t.entries, entry{})
	}
	tag := tagOf(hash)
	t.entries[i] = entry{tag: tag}
	t.index.add(slot{new, tag, i})
	t.file(i, new)
}

// replace puts a new text of the same address into the slot at.
func (t *table) replace(at int, new text) {
	s := &t.index.slots[at]
	s.text = new
	e := &t.entries[s.place]
	if e.slot != slotNone {
		first, _ := spanOf(new.state())
		if ticksAt(first) >= e.when {
			return // it is filed again when its old time comes: most are refreshed long before
		}
		t.wheel.remove(t.entries, s.place)
	}
	t.file(s.place, new)
}

// file puts the entry at i into the wheel.
func (t *table) file(i uint32, of text) {
	first, _ := spanOf(of.state())
	t.entries[i].when = ticksAt(first)
	t.wheel.add(t.entries, i)
}

// remove takes out what the slot at says, in the wheel or not.
func (t *table) remove(at int) {
	i := t.index.slots[at].place
	t.wheel.remove(t.entries, i)
	t.index.remove(at)
	t.entries[i] = entry{next: t.free}
	t.free = i
	if t.len() == 0 { // give back what a crowd took
		t.index, t.entries, t.free = index{}, nil, 0
		t.wheel = wheel{now: t.wheel.now}
	}
}
