package registrar

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// An expiry is the one runtime timer of a Memory.
type expiry struct {
	armed atomic.Int64 // the tick the timer is set to; never: not set; sweeping: the sweep will set it
	at    atomic.Int32 // the shard a sweep goes on with
	mu    sync.Mutex   // guards timer
	timer *time.Timer
	done  bool
}

const (
	sweeping = math.MinInt64
	// sweepStep bounds the wheel steps taken under one hold of a shard's lock: some 10 us when every entry is out of the cache.
	sweepStep = 16
	// sweepBurst bounds the steps between two rests, of sweepRest each: they take most of a millisecond when all is out of the cache.
	// Without rests a sweep of millions keeps a processor from the messages: with one P the runtime does not look at the network as long
	// as a goroutine is ready, which one that yields always is, and a thread that never sleeps is taken off its processor by the system
	// wherever it is, with a lock held for instance.
	sweepBurst = 1024
	sweepRest  = time.Millisecond
	// longestNap bounds the error after the wall clock was set.
	longestNap = time.Minute
)

func (x *expiry) init() { x.armed.Store(never) }

func (x *expiry) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = true
	if x.timer != nil {
		x.timer.Stop()
	}
}

// arm sees to it that a sweep runs at the tick or before.
func (m *Memory) arm(when int64) {
	x := &m.expiry
	if when >= x.armed.Load() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done || when >= x.armed.Load() {
		return
	}
	x.armed.Store(when)
	now := time.Now()
	nap := longestNap
	if s := when - now.Unix(); s < int64(longestNap/time.Second) {
		nap = max(0, time.Unix(when, 0).Sub(now))
	}
	if x.timer == nil {
		x.timer = time.AfterFunc(nap, m.sweep)
	} else {
		x.timer.Reset(nap)
	}
}

// idle stops the timer of a store that has become empty. armed is reset first: an Update that put something in before
// that is seen here by the count, one that comes later arms the timer itself.
func (m *Memory) idle() {
	m.expiry.armed.Store(never)
	if m.aors.Load() != 0 {
		m.rearm()
		return
	}
	m.expiry.mu.Lock()
	defer m.expiry.mu.Unlock()
	if m.expiry.armed.Load() == never && m.expiry.timer != nil {
		m.expiry.timer.Stop()
	}
}

// sweep takes out what has expired, a few entries at a time so that no Update or Lookup waits long, and sets the timer: to go on after a
// burst, or again. Two at once do no harm: an Update that emptied the store may have made room for another.
func (m *Memory) sweep() {
	m.expiry.armed.Store(sweeping)
	taken := 0
	for i := int(m.expiry.at.Swap(0)); i < memoryShards; {
		steps := m.sweepShard(&m.shards[i])
		if taken += steps; taken >= sweepBurst {
			m.expiry.rest(i)
			return
		}
		if steps < sweepStep {
			i++
		} else {
			runtime.Gosched()
		}
	}
	m.expiry.armed.Store(never)
	m.rearm()
}

// rest has the sweep go on with a shard later.
func (x *expiry) rest(shard int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	x.at.Store(int32(shard))
	x.timer.Reset(sweepRest)
}

// rearm sets the timer to the earliest slot of all shards; armed must have been reset before.
func (m *Memory) rearm() {
	when := int64(never)
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		when = min(when, sh.wheel.next())
		sh.mu.Unlock()
	}
	m.arm(when)
}

// sweepShard does a bounded piece of work and returns how many steps it took; fewer than sweepStep: nothing is left.
func (m *Memory) sweepShard(sh *shard) (steps int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := time.Now().UnixNano()
	for ; steps < sweepStep; steps++ {
		i, more := sh.wheel.pop(sh.entries, now/tick)
		if !more {
			break
		}
		if i != 0 {
			m.expire(sh, i, now)
		}
	}
	return steps
}

// expire takes the expired bindings out of an entry that has left the wheel.
func (m *Memory) expire(sh *shard, i uint32, now int64) {
	at := sh.index.holds(sh.entries[i].tag, i)
	was := sh.index.slots[at].text
	aor, old := was.aor(), was.state()
	next := dropExpired(old, now)
	switch {
	case next == "":
		sh.remove(at)
		m.aors.Add(-1)
	case same(old, next): // refreshed since it was filed
		sh.file(i, was)
	default:
		fewer := makeText(append(appendText(nil, aor), next...), len(aor))
		next = fewer.state()
		sh.replace(at, fewer)
	}
	if !same(old, next) {
		m.hub.publish(change{aor, old, next, now}, m.EventQueue)
	}
}
