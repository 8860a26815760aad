package registrar

import (
	"context"
	"hash/maphash"
	"iter"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Memory is a Store that lives and dies with the process. The zero value is ready for use; it must not be copied.
//
// Bindings are kept packed, about 330 bytes each with one contact an address-of-record. Update and Lookup never wait for
// anything but each other's copying of a few hundred bytes. f of Update runs without a lock held and once more when another
// Update of the same address-of-record came first. One runtime timer serves all expiry; none is armed when the store is empty.
type Memory struct {
	// MaxAORs bounds the addresses-of-record kept; Update of one more gives ErrFull. 0: 10,000,000.
	MaxAORs int
	// EventQueue bounds the changes that wait for one watcher; more are dropped and counted. 0: 65,536.
	EventQueue int

	once    sync.Once
	seed    maphash.Seed
	shards  [memoryShards]shard
	expiry  expiry
	hub     hub
	aors    atomic.Int64
	closed  atomic.Bool
	refused atomic.Uint64
	// log, if set, is told every change while the shard is locked, so in order for each AOR. It returns what update passes on.
	log func(aor AOR, state string) uint64
}

// MemoryStats are counts since the start, but AORs, which is what is there now.
type MemoryStats struct {
	AORs          int
	Refused       uint64 // Updates that gave ErrFull
	EventsDropped uint64 // changes that a watcher was too slow for
}

const (
	memoryShards      = 256
	defaultMaxAORs    = 10_000_000
	defaultEventQueue = 1 << 16
)

type shard struct {
	mu    sync.Mutex
	aors  map[AOR]*entry
	wheel wheel
}

// state returns the packed bindings of aor, expired ones included; "" when there are none.
func (s *shard) state(aor AOR) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.aors[aor]; e != nil {
		return e.state
	}
	return ""
}

func (m *Memory) shard(aor AOR) *shard {
	m.once.Do(m.init)
	return &m.shards[maphash.String(m.seed, string(aor))%memoryShards]
}

func (m *Memory) init() {
	m.seed = maphash.MakeSeed()
	m.expiry.init()
	m.hub.init()
	if m.MaxAORs == 0 {
		m.MaxAORs = defaultMaxAORs
	}
	if m.EventQueue == 0 {
		m.EventQueue = defaultEventQueue
	}
}

// Stats may be called at any time.
func (m *Memory) Stats() MemoryStats {
	return MemoryStats{AORs: int(m.aors.Load()), Refused: m.refused.Load(), EventsDropped: m.hub.dropped.Load()}
}

func (m *Memory) ready(ctx context.Context) error {
	if m.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

// Update implements Store.
func (m *Memory) Update(ctx context.Context, aor AOR, f func(old []Binding) ([]Binding, error)) error {
	_, err := m.update(ctx, aor, f)
	return err
}

// scratch is what one Update works in.
type scratch struct {
	old    []Binding
	packed []byte
}

// Both are dropped from the pool when they have grown beyond what a usual Update takes.
const (
	scratchBindings = 64
	scratchBytes    = 16 << 10
)

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	clear(s.old)
	if cap(s.old) <= scratchBindings && cap(s.packed) <= scratchBytes {
		scratches.Put(s)
	}
}

// update is Update; mark is what log returned, 0 when nothing changed.
func (m *Memory) update(ctx context.Context, aor AOR, f func(old []Binding) ([]Binding, error)) (mark uint64, err error) {
	sh := m.shard(aor)
	work := scratches.Get().(*scratch)
	defer work.release()
	for {
		if err := m.ready(ctx); err != nil {
			return 0, err
		}
		now := time.Now().UnixNano()
		old := sh.state(aor)
		if work.old, err = appendLive(work.old[:0], old, now); err != nil {
			return 0, err
		}
		next, err := f(work.old)
		if err != nil {
			return 0, err
		}
		work.packed = packLive(work.packed[:0], next, now)
		if old == string(work.packed) {
			return 0, nil
		}
		if len(work.packed) > maxState {
			return 0, ErrTooLarge
		}
		mark, ok, err := m.swap(sh, aor, old, string(work.packed), now)
		if ok || err != nil {
			return mark, err
		}
	}
}

// packLive packs those of bs that expire after now.
func packLive(b []byte, bs []Binding, now int64) []byte {
	for i := range bs {
		if unixNano(bs[i].Expires) <= now {
			continue
		}
		if len(b) == 0 {
			b = append(b, stateVersion)
		}
		b = appendBinding(b, &bs[i])
	}
	return b
}

// same tells whether two states are one text in memory, which is enough for compare-and-set: nobody changes a state in place.
func same(a, b string) bool {
	return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

// swap replaces the state of aor; not ok: it is no longer old.
func (m *Memory) swap(sh *shard, aor AOR, old, next string, now int64) (mark uint64, ok bool, err error) {
	sh.mu.Lock()
	e := sh.aors[aor]
	if cur := stateOf(e); cur != "" || old != "" {
		if !same(cur, old) {
			sh.mu.Unlock()
			return 0, false, nil
		}
	}
	if e == nil {
		if m.aors.Load() >= int64(m.MaxAORs) {
			sh.mu.Unlock()
			m.refused.Add(1)
			return 0, false, ErrFull
		}
		aor = AOR(strings.Clone(string(aor))) // it may be a piece of a datagram
	} else {
		aor = e.aor
	}
	empty := m.put(sh, e, aor, next, now)
	if m.log != nil {
		mark = m.log(aor, next)
	}
	m.hub.publish(change{aor, old, next, now}, m.EventQueue)
	when := sh.wheel.next()
	sh.mu.Unlock()
	if empty {
		m.rest()
	} else {
		m.arm(when)
	}
	return mark, true, nil
}

func stateOf(e *entry) string {
	if e == nil {
		return ""
	}
	return e.state
}

// put makes state that of aor, whose entry is e or nil, in the locked shard. It reports whether the store is empty now.
func (m *Memory) put(sh *shard, e *entry, aor AOR, state string, now int64) (empty bool) {
	if state == "" {
		if e == nil {
			return false
		}
		sh.wheel.remove(e)
		delete(sh.aors, aor)
		return m.aors.Add(-1) == 0
	}
	first, _ := spanOf(state)
	when := ticksAt(first)
	if e == nil {
		if len(sh.aors) == 0 {
			if sh.aors == nil {
				sh.aors = make(map[AOR]*entry)
			}
			sh.wheel.now = max(sh.wheel.now, now/tick)
		}
		e = &entry{aor: aor, slot: slotNone}
		sh.aors[aor] = e
		m.aors.Add(1)
	} else if when < e.when {
		sh.wheel.remove(e) // one that expires later now is filed again when its old time comes
	}
	e.state = state
	if e.slot == slotNone {
		e.when = when
		sh.wheel.add(e)
	}
	return false
}

// Lookup implements Store.
func (m *Memory) Lookup(ctx context.Context, aor AOR) ([]Binding, error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	state := m.shard(aor).state(aor)
	if state == "" {
		return nil, nil
	}
	return decodeLive(state, time.Now().UnixNano())
}

// Scan implements Store. It stops early when ctx ends.
func (m *Memory) Scan(ctx context.Context) iter.Seq2[AOR, []Binding] {
	return func(yield func(AOR, []Binding) bool) {
		for aor, state := range m.states(ctx) {
			bs, err := decodeLive(state, time.Now().UnixNano())
			if err == nil && len(bs) > 0 && !yield(aor, bs) {
				return
			}
		}
	}
}

// states yields every packed state. No lock is held meanwhile: each shard's table is copied when its turn comes.
func (m *Memory) states(ctx context.Context) iter.Seq2[AOR, string] {
	type pair struct {
		aor   AOR
		state string
	}
	return func(yield func(AOR, string) bool) {
		var pairs []pair
		for i := range m.shards {
			pairs = pairs[:0]
			sh := &m.shards[i]
			sh.mu.Lock()
			for aor, e := range sh.aors {
				pairs = append(pairs, pair{aor, e.state})
			}
			sh.mu.Unlock()
			for _, p := range pairs {
				if m.ready(ctx) != nil || !yield(p.aor, p.state) {
					return
				}
			}
		}
	}
}

// Watch implements Store. A watcher is in place when the bubble or the goroutine that called Watch first blocks.
func (m *Memory) Watch(ctx context.Context, f func(Event)) error {
	if err := m.ready(ctx); err != nil {
		return err
	}
	m.once.Do(m.init)
	return m.hub.watch(ctx, func(c change) {
		for _, e := range c.events() {
			f(e)
		}
	})
}

// Close stops expiry and ends every Watch. The bindings are gone.
func (m *Memory) Close() error {
	m.once.Do(m.init)
	if m.closed.Swap(true) {
		return nil
	}
	m.expiry.stop()
	m.hub.close()
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		sh.aors, sh.wheel = nil, wheel{}
		sh.mu.Unlock()
	}
	m.aors.Store(0)
	return nil
}

// events decodes the change.
func (c change) events() []Event {
	old, err1 := decodeLive(c.old, math.MinInt64)
	next, err2 := decodeLive(c.next, math.MinInt64)
	if err1 != nil || err2 != nil {
		return nil
	}
	return Changes(c.aor, old, next, fromUnixNano(c.now))
}
