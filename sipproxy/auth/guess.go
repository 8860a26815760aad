package auth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// guesses counts wrong passwords: a table of fixed size of buckets that hold the instant at which they are empty again (the generic
// cell rate form of the leaky bucket). A key that finds no room takes over the bucket that has been empty for longest.
type guesses struct {
	seed maphash.Seed
	base time.Time // instants are counted from here, by the clock that nobody sets
	gap  int64     // nanoseconds that forgive one failure
	sets []guessSet
	lock [16]sync.Mutex
}

const guessWays = 8

type guessSet [guessWays]struct {
	key  uint64
	full int64
}

func (g *guesses) open(entries int, gap time.Duration) {
	g.seed, g.base = maphash.MakeSeed(), time.Now()
	g.gap = int64(gap)
	g.sets = make([]guessSet, max(1, entries/guessWays))
}

// origin is what stands for an address in a nonce: one for a /64 of IPv6.
func (g *guesses) origin(a netip.Addr) uint32 {
	b := a.Unmap().As16()
	if !a.Unmap().Is4() {
		clear(b[8:])
	}
	return uint32(maphash.Bytes(g.seed, b[:])) | 1
}

// key is that of guesses at a user by an origin; "" for all that an origin does.
func (g *guesses) key(origin uint32, user string) uint64 {
	return maphash.String(g.seed, user) ^ uint64(origin)*0x9e3779b97f4a7c15 | 1
}

// exhausted reports whether the key has failed burst times of late.
func (g *guesses) exhausted(key uint64, burst int, now time.Time) bool {
	full := g.with(key, func(full int64) int64 { return full })
	return full-int64(now.Sub(g.base)) > int64(burst-1)*g.gap
}

// failed counts a failure.
func (g *guesses) failed(key uint64, now time.Time) {
	g.with(key, func(full int64) int64 { return max(full, int64(now.Sub(g.base))) + g.gap })
}

// with gives the bucket of the key to f and returns what was in it. A bucket that f leaves alone is not taken over.
func (g *guesses) with(key uint64, f func(full int64) int64) int64 {
	i := key % uint64(len(g.sets))
	mu := &g.lock[i%uint64(len(g.lock))]
	mu.Lock()
	defer mu.Unlock()
	set := &g.sets[i]
	oldest := 0
	for j := range set {
		if set[j].key == key {
			was := set[j].full
			set[j].full = f(was)
			return was
		}
		if set[j].full < set[oldest].full {
			oldest = j
		}
	}
	if fresh := f(0); fresh != 0 {
		set[oldest].key, set[oldest].full = key, fresh
	}
	return 0
}
