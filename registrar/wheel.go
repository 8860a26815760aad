package registrar

import (
	"math"
	"math/bits"
)

// tick is the wheel's unit in nanoseconds. Bindings expire for Lookup to the
// nanosecond; the wheel only frees their memory and tells Expired, at most one tick late.
const tick = 1e9

// ticksAt returns the first tick at or after the instant, in Unix nanoseconds.
func ticksAt(ns int64) int64 {
	if ns <= 0 {
		return 0
	}
	return (ns-1)/tick + 1
}

const (
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	wheelLevels = 6 // 36 bits of seconds: every time that Unix nanoseconds can express
	slotDue     = wheelLevels * wheelSlots
	slotNone    = 0 // a free number: an entry lies in the slot of a digit greater than the clock's, so never in slot 0
	never       = math.MaxInt64
)

// A wheel is a hierarchical timing wheel over whole ticks (G. Varghese, A. Lauck, 1987): level l has 64 slots of
// 64^l ticks. Adding and removing cost the same for any time; an entry comes down one level each time the
// slot it lies in is reached. All work is done an entry at a time, so its owner can stop anywhere.
// Entries are places in the owner's slice, which every method is given. Not safe for concurrent use.
type wheel struct {
	now    int64               // every slot before it is empty
	due    uint32              // head of the list met next
	dueOf  uint16              // the slot that due was taken from: its entries still carry that number
	used   [wheelLevels]uint64 // a bit a slot with entries
	levels [wheelLevels]*[wheelSlots]uint32
}

// add files the entry at i under its when.
func (w *wheel) add(l []entry, i uint32) {
	e := &l[i]
	if e.when <= w.now {
		e.slot = slotDue
		push(l, &w.due, i)
		return
	}
	level := (bits.Len64(uint64(e.when^w.now)) - 1) / wheelBits
	slot := int(e.when>>(level*wheelBits)) & (wheelSlots - 1)
	if w.levels[level] == nil {
		w.levels[level] = new([wheelSlots]uint32)
	}
	w.used[level] |= 1 << slot
	e.slot = uint16(level*wheelSlots + slot)
	push(l, &w.levels[level][slot], i)
}

func push(l []entry, head *uint32, i uint32) {
	e := &l[i]
	e.prev, e.next = 0, *head
	if e.next != 0 {
		l[e.next].prev = i
	}
	*head = i
}

// remove takes the entry at i out, wherever it is.
func (w *wheel) remove(l []entry, i uint32) {
	e := &l[i]
	if e.slot == slotNone {
		return
	}
	if e.next != 0 {
		l[e.next].prev = e.prev
	}
	switch {
	case e.prev != 0:
		l[e.prev].next = e.next
	case e.slot == slotDue || e.slot == w.dueOf:
		w.due = e.next
	default:
		level, slot := e.slot/wheelSlots, e.slot%wheelSlots
		w.levels[level][slot] = e.next
		if e.next == 0 {
			w.used[level] &^= 1 << slot
		}
	}
	e.prev, e.next, e.slot = 0, 0, slotNone
}

// pop takes one entry whose time has come by now out of the wheel; 0: none this time.
// Each call takes one step (an entry or a slot); more is false when nothing is left to do by now.
func (w *wheel) pop(l []entry, now int64) (i uint32, more bool) {
	if i := w.due; i != 0 {
		w.remove(l, i)
		if l[i].when <= now {
			return i, true
		}
		w.add(l, i)
		return 0, true
	}
	w.dueOf = slotNone
	level, slot, start := w.first()
	if start > now {
		w.now = max(w.now, now)
		return 0, false
	}
	w.now = max(w.now, start)
	w.due = w.levels[level][slot]
	w.levels[level][slot] = 0
	w.used[level] &^= 1 << slot
	w.dueOf = uint16(level*wheelSlots + slot)
	return 0, true
}

// first returns the first slot in use and the tick at which it begins; never when the wheel is empty.
// Filing by the highest digit that differs from now makes every slot of a level later than those of the level below.
func (w *wheel) first() (level, slot int, start int64) {
	for level, used := range w.used {
		if used == 0 {
			continue
		}
		slot := bits.TrailingZeros64(used)
		shift := level * wheelBits
		start = w.now>>(shift+wheelBits)<<(shift+wheelBits) | int64(slot)<<shift
		return level, slot, start
	}
	return 0, 0, never
}

// next returns the tick at which pop has something to do; never when the wheel is empty.
func (w *wheel) next() int64 {
	if w.due != 0 {
		return w.now
	}
	_, _, start := w.first()
	return start
}
