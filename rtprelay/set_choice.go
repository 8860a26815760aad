package rtprelay

import (
	"math"
	"sync"
	"time"
)

const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// hashString is FNV-1a. The hash is part of the contract between proxies: it must not depend on the process.
func hashString(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// mix spreads all bits over all (the finalizer of SplitMix64); FNV alone leaves the high ones poor.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// score is the member's bid for a call: weighted rendezvous hashing, -w/ln(u) with u in (0, 1).
func (m *member) score(call uint64) float64 {
	h := mix(call ^ mix(m.hash))
	u := (float64(h>>11) + 0.5) / (1 << 53)
	return -float64(m.weight) / math.Log(u)
}

// ranked gives the members by their bids for the call, best first; those without weight are left out.
func (s *Set) ranked(callID string) []*member {
	call := hashString(fnvOffset, callID)
	out := make([]*member, 0, len(s.members))
	bids := make([]float64, 0, len(s.members))
	for _, m := range s.members {
		if m.weight < 0 {
			continue
		}
		bid := m.score(call)
		i := len(out)
		out, bids = append(out, m), append(bids, bid)
		for i > 0 && bids[i-1] < bid {
			out[i], bids[i] = out[i-1], bids[i-1]
			i--
		}
		out[i], bids[i] = m, bid
	}
	return out
}

// bindings remember which member has a leg. Two generations: when the younger one is full or old, it becomes the older and that is forgotten; what is
// used moves to the younger one. So memory is bounded without a timer.
type bindings struct {
	limit int
	age   time.Duration

	mu      sync.Mutex
	young   map[legKey]*member
	old     map[legKey]*member
	started time.Time
}

type legKey struct {
	call string
	leg  int
}

func (b *bindings) put(r *Ref, m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	b.young[legKey{r.CallID, r.Leg}] = m
}

func (b *bindings) get(r *Ref) *member {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := legKey{r.CallID, r.Leg}
	m := b.young[k]
	if m == nil {
		if m = b.old[k]; m != nil {
			b.turn()
			b.young[k] = m
			delete(b.old, k)
		}
	}
	return m
}

func (b *bindings) drop(r *Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := legKey{r.CallID, r.Leg}
	delete(b.young, k)
	delete(b.old, k)
}

func (b *bindings) turn() {
	limit := b.limit
	if limit <= 0 {
		limit = 200_000
	}
	now := time.Now()
	if b.young != nil && len(b.young) < max(1, limit/2) && now.Sub(b.started) < orDefaultDuration(b.age, 6*time.Hour) {
		return
	}
	b.old, b.young, b.started = b.young, map[legKey]*member{}, now
}

func (b *bindings) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.young) + len(b.old)
}
