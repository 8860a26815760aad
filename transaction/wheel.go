package transaction

import (
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// slotTime is the resolution of the wheel.
const slotTime = 20 * time.Millisecond

// The wheel is hierarchical: 256 slots of 20 ms (5.12 s), then three levels of
// 64 slots each 64 times as long as below (5.5 minutes, 5.8 hours, 15 days; what
// is farther away waits in the last level and is looked at again).
const (
	nearBits  = 8
	farBits   = 6
	nearSlots = 1 << nearBits
	farSlots  = 1 << farBits
	farLevels = 3
	allSlots  = nearSlots + farLevels*farSlots
	horizon   = 1 << (nearBits + farLevels*farBits)

	never = math.MaxInt64
)

// An expirer is told when its entry is due, without any lock held.
type expirer interface {
	expired(now Instant)
}

// An entry is a pending timer, embedded in what it serves.
type entry struct {
	next, prev *entry // in its slot
	owner      expirer
	tick       int64  // due at tick*slotTime
	slot       uint16 // where it is, plus one; zero: not pending
}

// A queue is what waits in one slot, in the order in which it was set.
type queue struct{ first, last *entry }

// A wheel holds entries and tells them when they are due, never early and at
// most one slot (and the delay of the scheduler) late. One alarm wakes it, set for the
// first occupied slot and moved only towards an earlier one: an entry that was
// stopped costs at most a wake-up for nothing. Without entries nothing is armed.
type wheel struct {
	mu      sync.Mutex
	tick    int64 // all up to this one are done
	armed   int64 // when the alarm goes off; at most the first event
	n       int
	running bool
	closed  bool
	marks   [allSlots / 64]uint64 // a bit for each slot in use: the near ones, then a word for each far level
	slots   [allSlots]queue

	clock       func() Instant
	hold, flush func()          // around each wake-up's work
	alarm       transport.Alarm // made when first needed
	factory     func(f func()) transport.Alarm
}

func (w *wheel) init(clock func() Instant, hold, flush func(), alarm func(f func()) transport.Alarm) {
	w.clock, w.hold, w.flush, w.factory, w.armed = clock, hold, flush, alarm, never
}

// set arms e, or moves it, to be due at the deadline.
func (w *wheel) set(e *entry, owner expirer, deadline, now Instant) {
	w.mu.Lock()
	if !w.closed {
		w.setLocked(e, owner, deadline, now)
	}
	w.mu.Unlock()
}

func (w *wheel) setLocked(e *entry, owner expirer, deadline, now Instant) {
	if e.slot != 0 {
		w.unlink(e)
	}
	// Nothing is pending before armed, so time may jump there: it keeps the
	// distance small, and with it the level.
	if t := int64(now) / int64(slotTime); t > w.tick && t < w.armed {
		w.tick = t
	}
	e.owner = owner
	e.tick = max((int64(deadline)+int64(slotTime)-1)/int64(slotTime), w.tick+1)
	if at := w.place(e); at < w.armed && !w.running {
		w.wake(at, now)
	}
}

// stop disarms e. It does not wait for an expired call that has begun.
func (w *wheel) stop(e *entry) {
	w.mu.Lock()
	if e.slot != 0 && !w.closed {
		w.unlink(e)
	}
	w.mu.Unlock()
}

func (w *wheel) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.slots = [allSlots]queue{}
	w.marks, w.n = [allSlots / 64]uint64{}, 0
	if w.alarm != nil {
		w.alarm.Close()
	}
}

// wake sets the alarm.
func (w *wheel) wake(at int64, now Instant) {
	w.armed = at
	if w.alarm == nil {
		w.alarm = w.factory(w.run)
	}
	w.alarm.Set(time.Duration(at*int64(slotTime) - int64(now)))
}

// run is the alarm's function: it tells all that are due.
func (w *wheel) run() {
	w.mu.Lock()
	if w.running || w.closed {
		w.mu.Unlock()
		return
	}
	w.running = true
	w.mu.Unlock()
	w.hold()
	w.mu.Lock()
	for {
		now := w.clock()
		w.advance(now)
		if next := w.next(); next == never || w.closed {
			w.armed = never
			break
		} else if now = w.clock(); next > int64(now)/int64(slotTime) {
			w.wake(next, now)
			break
		}
	}
	w.running = false
	w.mu.Unlock()
	w.flush()
}

// advance handles every event up to now. The lock is given up around each call.
func (w *wheel) advance(now Instant) {
	to := int64(now) / int64(slotTime)
	for {
		t := w.next()
		if t > to {
			w.tick = max(w.tick, to)
			return
		}
		w.tick = t
		w.cascade()
		for q := &w.slots[t%nearSlots]; q.first != nil; {
			e := q.first
			w.unlink(e)
			owner := e.owner
			w.mu.Unlock()
			owner.expired(now)
			w.mu.Lock()
		}
	}
}

// cascade moves the entries of the far slots that begin at this tick nearer.
func (w *wheel) cascade() {
	for level := farLevels - 1; level >= 0; level-- {
		shift := farShift(level)
		if w.tick&(1<<shift-1) != 0 {
			continue
		}
		for q := &w.slots[farSlot(level, w.tick)]; q.first != nil; {
			e := q.first
			w.unlink(e)
			w.place(e)
		}
	}
}

func farShift(level int) uint { return nearBits + uint(level)*farBits }

func farSlot(level int, tick int64) uint {
	return nearSlots + uint(level)*farSlots + uint(tick>>farShift(level))%farSlots
}

// place links e by its distance and returns the tick at which its slot must be handled.
func (w *wheel) place(e *entry) (at int64) {
	at = e.tick
	i := uint(at) % nearSlots
	if d := at - w.tick; d >= nearSlots {
		at = min(at, w.tick+horizon-1)
		level := 0
		for d >= 1<<farShift(level+1) && level < farLevels-1 {
			level++
		}
		i = farSlot(level, at)
		at = at >> farShift(level) << farShift(level)
	}
	w.link(e, i)
	return at
}

// link appends e to slot i. Of the others it touches the last alone, which was set a moment ago; the first one may have left the caches.
func (w *wheel) link(e *entry, i uint) {
	e.slot = uint16(i + 1)
	w.n++
	w.marks[i/64] |= 1 << (i % 64)
	q := &w.slots[i]
	e.prev = q.last
	if q.last == nil {
		q.first = e
	} else {
		q.last.next = e
	}
	q.last = e
}

func (w *wheel) unlink(e *entry) {
	i := uint(e.slot - 1)
	w.n--
	q := &w.slots[i]
	if e.prev == nil {
		q.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	if q.first == nil {
		w.marks[i/64] &^= 1 << (i % 64)
	}
	e.next, e.prev, e.slot = nil, nil, 0
}

// next is the tick of the first event: a near slot to expire or a far one to cascade.
func (w *wheel) next() int64 {
	if w.n == 0 {
		return never
	}
	at := w.nextNear()
	for level, marks := range w.marks[nearSlots/64:] {
		if marks == 0 {
			continue
		}
		base := w.tick>>farShift(level) + 1
		d := bits.TrailingZeros64(bits.RotateLeft64(marks, -int(base%farSlots)))
		at = min(at, (base+int64(d))<<farShift(level))
	}
	return at
}

func (w *wheel) nextNear() int64 {
	for t := w.tick + 1; t <= w.tick+nearSlots; {
		i := int(t % nearSlots)
		if m := w.marks[i/64] >> (i % 64); m != 0 {
			return t + int64(bits.TrailingZeros64(m))
		}
		t += int64(64 - i%64)
	}
	return never
}

// A Timer is an entry of the layer's wheel, embedded in what it serves. Resolution: one slot (20 ms);
// never early. The zero Timer with To set is ready; it must not be copied while pending.
type Timer struct {
	To Expirer // set once before the first SetTimer
	e  entry
}

// An Expirer is told when its Timer is due, on the wheel's goroutine, and must not block. A converted pointer serves as one
// without an allocation, which a function would cost.
type Expirer interface{ Expire() }

func (t *Timer) expired(Instant) { t.To.Expire() }

// SetTimer arms t to tell its Expirer after d, whether it is pending or not. It returns when that is.
func (l *Layer) SetTimer(t *Timer, d time.Duration) (due Instant) {
	now := l.Now()
	due = now.add(d)
	l.wheel.set(&t.e, t, due, now)
	return due
}

// StopTimer disarms t. It does not wait for an Expire that has begun.
func (l *Layer) StopTimer(t *Timer) { l.wheel.stop(&t.e) }
