package auth

import (
	"sync"
	"time"
)

// replays remembers which counts of a nonce were used (RFC 7616 §3.4, nc). State begins with the first valid use. It is bounded: there are
// two generations a shard, and the older is dropped when the younger is full or as old as a nonce lives. Nonces issued before a dropped
// generation was closed are then taken for stale, since their counts are forgotten.
type replays struct {
	shards [replayShards]replayShard
	max    int // entries a generation
	life   int64
}

const replayShards = 16

type replayShard struct {
	mu       sync.Mutex
	now, old map[nonceKey]*window
	began    int64 // of now
	closed   int64 // when old was closed
	floor    int64 // nonces issued until then without state are stale
}

type nonceKey struct {
	issued int64
	random uint32
}

// A window is the highest count seen and the 64 below it, so that requests may overtake each other.
type window struct {
	high uint32
	seen uint64 // bit n: high-n
}

func (r *replays) open(entries int, life time.Duration) {
	r.max = max(1, entries/replayShards/2)
	r.life = int64(life)
}

// use marks a count as used; false when it was before, or may have been.
func (r *replays) use(n nonce, count uint32, now time.Time) bool {
	s := &r.shards[n.random%replayShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	k := nonceKey{n.issued, n.random}
	w := s.now[k]
	if w == nil {
		w = s.old[k]
	}
	if w != nil {
		return w.use(count)
	}
	t := now.UnixNano()
	if t < s.began-int64(skew) {
		s.setBack(t)
	}
	if n.issued <= s.floor {
		return false
	}
	if s.now == nil || len(s.now) >= r.max || t-s.began >= r.life {
		s.rotate(t)
	}
	s.now[k] = &window{high: count, seen: 1}
	return true
}

func (s *replayShard) rotate(t int64) {
	if len(s.old) > 0 {
		s.floor = max(s.floor, s.closed)
	}
	s.old, s.closed = s.now, t
	s.now, s.began = make(map[nonceKey]*window), t
}

// setBack is for a clock that was set back to t: an instant still to come must not make stale what is issued from now on.
func (s *replayShard) setBack(t int64) {
	s.floor, s.closed, s.began = min(s.floor, t), min(s.closed, t), t
}

func (w *window) use(count uint32) bool {
	if count > w.high {
		if up := count - w.high; up < 64 {
			w.seen = w.seen<<up | 1
		} else {
			w.seen = 1
		}
		w.high = count
		return true
	}
	down := w.high - count
	if down >= 64 || w.seen&(1<<down) != 0 {
		return false
	}
	w.seen |= 1 << down
	return true
}

// entries is the number of nonces remembered.
func (r *replays) entries() (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		n += len(s.now) + len(s.old)
		s.mu.Unlock()
	}
	return n
}
