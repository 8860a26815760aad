package transport

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	healthMemory = 30 * time.Second
	healthMax    = 4096
)

// health remembers targets that failed. Nothing of it is touched while none has.
type health struct {
	base   time.Time
	count  atomic.Int32
	mu     sync.Mutex
	failed map[Addr]time.Duration // until when, since base
}

func (h *health) init(base time.Time) {
	h.base = base
	h.failed = make(map[Addr]time.Duration)
}

func (h *health) report(a Addr, ok bool) {
	a.Name = ""
	if ok && h.count.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok {
		delete(h.failed, a)
	} else {
		h.prune()
		h.failed[a] = time.Since(h.base) + healthMemory
	}
	h.count.Store(int32(len(h.failed)))
}

// down reports whether a target failed lately.
func (h *health) down(a Addr) bool {
	if h.count.Load() == 0 {
		return false
	}
	a.Name = ""
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.failed[a]
	return ok && time.Since(h.base) < until
}

// prune drops what is over, and everything when that is not enough.
func (h *health) prune() {
	if len(h.failed) < healthMax {
		return
	}
	now := time.Since(h.base)
	for a, until := range h.failed {
		if until <= now {
			delete(h.failed, a)
		}
	}
	if len(h.failed) >= healthMax {
		clear(h.failed)
	}
}

// sort puts failed targets last, keeping the order otherwise.
func (h *health) sort(addrs []Addr) {
	if len(addrs) < 2 || h.count.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Since(h.base)
	down := func(a Addr) int {
		a.Name = ""
		if until, ok := h.failed[a]; ok && now < until {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(addrs, func(a, b Addr) int { return down(a) - down(b) })
}
