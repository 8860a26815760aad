package registrar

import (
	"context"
	"hash/maphash"
	"iter"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Memory is a Store that lives and dies with the process. The zero value is ready for use; it must not be copied.
//
// Bindings are kept packed, about 350 bytes each with one contact an address-of-record. Update and Lookup never wait for
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
	lists   methodLists
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
	memoryBits        = 8
	memoryShards      = 1 << memoryBits
	defaultMaxAORs    = 10_000_000
	defaultEventQueue = 1 << 16
)

type shard struct {
	mu sync.Mutex
	table
}

// at returns the shard of aor and its hash there.
func (m *Memory) at(aor AOR) (*shard, uint64) {
	m.once.Do(m.init)
	hash := maphash.String(m.seed, string(aor))
	return &m.shards[hash>>(64-memoryBits)], hash
}

// load returns the packed bindings of aor, expired ones included.
func (s *shard) load(hash uint64, aor AOR) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(hash, aor)
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
	sh, hash := m.at(aor)
	work := scratches.Get().(*scratch)
	defer work.release()
	for {
		if err := m.ready(ctx); err != nil {
			return 0, err
		}
		now := time.Now().UnixNano()
		old := sh.load(hash, aor)
		if work.old, err = appendLive(work.old[:0], old, now, &m.lists); err != nil {
			return 0, err
		}
		next, err := f(work.old)
		if err != nil {
			return 0, err
		}
		work.packed = packLive(appendText(work.packed[:0], aor), next, now)
		packed := work.packed[textHeader+len(aor):]
		if old == string(packed) {
			return 0, nil
		}
		if len(packed) > maxState || len(aor) > maxAOR {
			return 0, ErrTooLarge
		}
		mark, ok, err := m.swap(sh, hash, old, makeText(work.packed, len(aor)), now)
		if ok || err != nil {
			return mark, err
		}
	}
}

// packLive appends the packed form of those of bs that expire after now.
func packLive(b []byte, bs []Binding, now int64) []byte {
	empty := true
	for i := range bs {
		if unixNano(bs[i].Expires) <= now {
			continue
		}
		if empty {
			b = append(b, stateVersion)
			empty = false
		}
		b = appendBinding(b, &bs[i])
	}
	return b
}

// same tells whether two states are one text in memory, which is enough for compare-and-set: nobody changes a state in place.
func same(a, b string) bool {
	return len(a) == len(b) && (a == "" || unsafe.StringData(a) == unsafe.StringData(b))
}

// swap makes new what is stored of its address; not ok: the bindings there are not old any more.
func (m *Memory) swap(sh *shard, hash uint64, old string, new text, now int64) (mark uint64, ok bool, err error) {
	sh.mu.Lock()
	at := sh.find(hash, new.aor())
	if !same(sh.stateAt(at), old) {
		sh.mu.Unlock()
		return 0, false, nil
	}
	empty := false
	switch {
	case new.state() == "":
		sh.remove(at)
		empty = m.aors.Add(-1) == 0
	case at != nowhere:
		sh.replace(at, new)
	case m.aors.Load() >= int64(m.MaxAORs):
		sh.mu.Unlock()
		m.refused.Add(1)
		return 0, false, ErrFull
	default:
		sh.insert(hash, new, now)
		m.aors.Add(1)
	}
	mark = m.tell(new, old, now)
	when := sh.wheel.next()
	sh.mu.Unlock()
	if empty {
		m.idle()
	} else {
		m.arm(when)
	}
	return mark, true, nil
}

// tell passes a change on: new is stored instead of old. Called with the shard locked, so that changes of an address-of-record come in order.
func (m *Memory) tell(new text, old string, now int64) (mark uint64) {
	if m.log == nil && !m.hub.watched() {
		return 0
	}
	aor, next := new.split()
	if m.log != nil {
		mark = m.log(aor, next)
	}
	m.hub.publish(change{aor, old, next, now}, m.EventQueue)
	return mark
}

// Lookup implements Store.
func (m *Memory) Lookup(ctx context.Context, aor AOR) ([]Binding, error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	sh, hash := m.at(aor)
	state := sh.load(hash, aor)
	if state == "" {
		return nil, nil
	}
	return decodeLive(state, time.Now().UnixNano(), &m.lists)
}

// AppendLookup implements Appender.
func (m *Memory) AppendLookup(ctx context.Context, dst []Binding, aor AOR) ([]Binding, error) {
	if err := m.ready(ctx); err != nil {
		return dst, err
	}
	sh, hash := m.at(aor)
	state := sh.load(hash, aor)
	if state == "" {
		return dst, nil
	}
	return appendLive(dst, state, time.Now().UnixNano(), &m.lists)
}

// Scan implements Store. It stops early when ctx ends.
func (m *Memory) Scan(ctx context.Context) iter.Seq2[AOR, []Binding] {
	return func(yield func(AOR, []Binding) bool) {
		for aor, state := range m.states(ctx) {
			bs, err := decodeLive(state, time.Now().UnixNano(), &m.lists)
			if err == nil && len(bs) > 0 && !yield(aor, bs) {
				return
			}
		}
	}
}

// states yields every packed state. No lock is held meanwhile: each shard's table is copied when its turn comes.
func (m *Memory) states(ctx context.Context) iter.Seq2[AOR, string] {
	return func(yield func(AOR, string) bool) {
		var copied []slot
		for i := range m.shards {
			sh := &m.shards[i]
			sh.mu.Lock()
			copied = append(copied[:0], sh.index.slots...)
			sh.mu.Unlock()
			for j := range copied {
				t := copied[j].text
				if t.none() {
					continue
				}
				if m.ready(ctx) != nil || !yield(t.aor(), t.state()) {
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

// Waits implements Waiter: nothing waits.
func (m *Memory) Waits() bool { return false }

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
		sh.table = table{}
		sh.mu.Unlock()
	}
	m.aors.Store(0)
	return nil
}

// events decodes the change.
func (c change) events() []Event {
	old, err1 := decodeLive(c.old, math.MinInt64, nil)
	next, err2 := decodeLive(c.next, math.MinInt64, nil)
	if err1 != nil || err2 != nil {
		return nil
	}
	return Changes(c.aor, old, next, fromUnixNano(c.now))
}
