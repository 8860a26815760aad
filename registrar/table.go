package registrar

// A table is one shard's addresses-of-record and the wheel of their expiry. Not safe for concurrent use.
//
// It is built for a collector that has millions of them to pass over: the index holds no pointers,
// and each address-of-record is one slot of a slice and one text, the address followed by its packed bindings.
type table struct {
	index   index
	entries []entry // place 0 is nobody's
	free    uint32  // head of the list of free places, linked by next
	wheel   wheel
}

// An entry is 40 bytes.
type entry struct {
	text       string // "": free
	when       int64  // tick under which it is filed in the wheel: at or before the first binding expires
	prev, next uint32 // in its wheel slot
	aorLen     uint32
	slot       uint16 // of the wheel
}

func (e *entry) aor() AOR      { return AOR(e.text[:e.aorLen]) }
func (e *entry) state() string { return e.text[e.aorLen:] }

// find returns the place of aor, 0 when it has none.
func (t *table) find(hash uint64, aor AOR) uint32 {
	i, _ := t.index.find(hash, t.entries, aor)
	return i
}

// state returns the packed bindings of aor, expired ones included; "" when there are none.
func (t *table) state(hash uint64, aor AOR) string {
	return t.stateAt(t.find(hash, aor))
}

func (t *table) stateAt(i uint32) string {
	if i == 0 {
		return ""
	}
	return t.entries[i].state()
}

func (t *table) len() int { return t.index.used }

// insert adds a new address-of-record whose bindings are not empty.
func (t *table) insert(hash uint64, text string, aorLen int, now int64) {
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
	t.entries[i] = entry{text: text, aorLen: uint32(aorLen)}
	t.index.add(hash, i)
	t.file(i)
}

// replace gives the entry at i a new text of the same address.
func (t *table) replace(i uint32, text string) {
	e := &t.entries[i]
	e.text = text
	first, _ := spanOf(e.state())
	if e.slot != slotNone {
		if ticksAt(first) >= e.when {
			return // it is filed again when its old time comes: most are refreshed long before
		}
		t.wheel.remove(t.entries, i)
	}
	t.file(i)
}

// file puts the entry at i into the wheel.
func (t *table) file(i uint32) {
	e := &t.entries[i]
	first, _ := spanOf(e.state())
	e.when = ticksAt(first)
	t.wheel.add(t.entries, i)
}

// remove takes out the entry at i, in the wheel or not.
func (t *table) remove(hash uint64, i uint32) {
	t.wheel.remove(t.entries, i)
	_, at := t.index.find(hash, t.entries, t.entries[i].aor())
	t.index.remove(at)
	t.entries[i] = entry{next: t.free}
	t.free = i
	if t.len() == 0 { // give back what a crowd took
		t.index, t.entries, t.free = index{}, nil, 0
		t.wheel = wheel{now: t.wheel.now}
	}
}
