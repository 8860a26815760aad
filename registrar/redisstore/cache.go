package redisstore

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/registrar"
)

const cacheShards = 64

// A cache keeps values of keys. It is true while the changes of all nodes are heard; each time they are heard anew a
// generation begins, and what is older counts only when Redis is away. Safe for concurrent use.
type cache struct {
	seed   maphash.Seed
	age    time.Duration
	limit  int          // of a shard; 0: no cache
	gen    atomic.Int64 // even: nothing is heard
	lostAt atomic.Int64 // Unix nanoseconds at the end of the last generation
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu      sync.Mutex
	epoch   uint64 // counts what makes a fill that is under way out of date
	values  map[registrar.AOR]cached
	pending map[registrar.AOR]string // versions of our own changes that are on their way to Redis
}

type cached struct {
	value value
	at    int64 // Unix nanoseconds
	gen   int64
}

// A ticket is taken before Redis is asked; the answer goes in only if nothing was heard meanwhile.
type ticket struct {
	epoch uint64
	gen   int64
	at    int64
}

func newCache(size int, age time.Duration) *cache {
	c := &cache{seed: maphash.MakeSeed(), age: age}
	if size > 0 {
		c.limit = (size + cacheShards - 1) / cacheShards
	}
	return c
}

func (c *cache) shard(aor registrar.AOR) *cacheShard {
	return &c.shards[maphash.String(c.seed, string(aor))%cacheShards]
}

func (c *cache) connected() bool { return c.gen.Load()%2 == 1 }

// heard begins a generation.
func (c *cache) heard() {
	if g := c.gen.Load(); g%2 == 0 {
		c.gen.Store(g + 1)
	}
}

// deaf ends it. heard and deaf are called by one goroutine.
func (c *cache) deaf() bool {
	g := c.gen.Load()
	if g%2 == 0 {
		return false
	}
	c.lostAt.Store(time.Now().UnixNano())
	c.gen.Store(g + 1)
	return true
}

func (c *cache) load(aor registrar.AOR) (cached, bool) {
	if c.limit == 0 {
		return cached{}, false
	}
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[aor]
	return v, ok
}

// fresh returns a value that is as good as what Redis would say.
func (c *cache) fresh(aor registrar.AOR) (value, bool) {
	v, ok := c.load(aor)
	return v.value, ok && v.gen%2 == 1 && v.gen == c.gen.Load() && time.Now().UnixNano()-v.at < int64(c.age)
}

// stale returns a value for when Redis is away. One that was true when the changes ceased to be heard ages from then.
func (c *cache) stale(aor registrar.AOR) (value, bool) {
	v, ok := c.load(aor)
	gen := c.gen.Load()
	if v.gen%2 == 1 && gen == v.gen+1 {
		v.at = max(v.at, c.lostAt.Load())
	}
	known := v.gen%2 == 1 && gen == v.gen // still heard: Redis has only just gone
	return v.value, ok && (known || time.Now().UnixNano()-v.at < int64(c.age))
}

func (c *cache) ticket(aor registrar.AOR) ticket {
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	return ticket{s.epoch, c.gen.Load(), time.Now().UnixNano()}
}

// fill stores what Redis said to whoever took the ticket.
func (c *cache) fill(aor registrar.AOR, v value, t ticket) {
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == t.epoch && c.limit > 0 {
		s.put(aor, cached{v, t.at, t.gen}, c.limit)
	}
}

// begin is called before a change of ours is sent.
func (c *cache) begin(aor registrar.AOR, version string) ticket {
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.limit > 0 {
		if s.pending == nil {
			s.pending = make(map[registrar.AOR]string)
		}
		s.pending[aor] = version
	}
	return ticket{s.epoch, c.gen.Load(), time.Now().UnixNano()}
}

// end is called when what became of it is known, or never will be.
func (s *cacheShard) end(aor registrar.AOR, version string) {
	if s.pending[aor] == version {
		delete(s.pending, aor)
	}
}

// settle is called when a change of ours has been made. If it has been heard already, all is well; if nothing has been heard meanwhile it
// is what there is; else what is there may be older.
func (c *cache) settle(aor registrar.AOR, version string, v value, t ticket) {
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(aor, version)
	if old, ok := s.values[aor]; ok && old.gen != 0 && old.value.version() == v.version() {
		return
	}
	fresh := s.epoch == t.epoch && c.limit > 0
	s.epoch++
	if fresh {
		s.put(aor, cached{v, t.at, t.gen}, c.limit)
		return
	}
	delete(s.values, aor)
}

// doubt is called when it is not known whether a change of ours has been made: what is there counts only when Redis is away.
func (c *cache) doubt(aor registrar.AOR, version string) {
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(aor, version)
	s.epoch++
	v, ok := s.values[aor]
	if !ok {
		return
	}
	if v.gen == c.gen.Load() && v.gen%2 == 1 {
		v.at = time.Now().UnixNano() // it was true until now
	}
	if v.gen%2 == 1 && v.gen+1 == c.gen.Load() {
		v.at = max(v.at, c.lostAt.Load())
	}
	v.gen = 0
	s.values[aor] = v
}

// refused is called when a change of ours was not made, because another came first.
func (c *cache) refused(aor registrar.AOR, version string) {
	s := c.shard(aor)
	s.mu.Lock()
	s.end(aor, version)
	s.mu.Unlock()
	c.drop(aor)
}

// drop forgets aor.
func (c *cache) drop(aor registrar.AOR) {
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	delete(s.values, aor)
}

// changed takes a change that was heard. Others' are of interest only if the address is; our own are likely to be asked for again, but heard late, after their
// answer, they are no news: what came behind them may be there already.
func (c *cache) changed(aor registrar.AOR, v value, own bool) {
	if c.limit == 0 {
		return
	}
	s := c.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	old, known := s.values[aor]
	if own {
		version, sent := s.pending[aor]
		known = sent && version == v.version() || known && old.gen == 0 // a doubt is settled
	}
	if known {
		s.put(aor, cached{v, time.Now().UnixNano(), c.gen.Load()}, c.limit)
	}
}

// put makes room by forgetting anyone.
func (s *cacheShard) put(aor registrar.AOR, v cached, limit int) {
	if s.values == nil {
		s.values = make(map[registrar.AOR]cached)
	}
	if _, known := s.values[aor]; !known && len(s.values) >= limit {
		for other := range s.values {
			delete(s.values, other)
			break
		}
	}
	s.values[aor] = v
}
