package sipproxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipkit/sipkit/sip"
)

// A stall is a handler that held up its reader. One now and then is the machine's doing, which gave the time to others; a handler that waits outside
// Block stalls again and again, and then runs on goroutines.
const (
	stallAfter   = 5 * time.Millisecond // how long a handler may hold its reader before another goroutine takes that over
	stallWindow  = time.Second
	stallsTooFew = 20 // in a window: below it nothing changes
	stallPenalty = time.Minute
)

// stalls watches for handlers that hold up readers.
type stalls struct {
	count atomic.Uint64
	until atomic.Int64 // handlers run on goroutines until then, Unix nanoseconds; 0: they do not

	mu    sync.Mutex
	start time.Time // of the window
	n     int       // stalls in it
}

// Stalled is called by the transports when a reader was taken over.
func (v receiver) Stalled() {
	s := v.s
	s.tryStalled()
	if s.stalls.count.Add(1) == 1 {
		s.log().Warn("a handler held up a reader; what waits belongs into Block")
	}
	if s.stalls.note(time.Now()) {
		s.log().Warn("handlers keep holding up readers; for a while each runs on a goroutine of its own")
	}
}

// lookBack is how many of the youngest requests may be those whose handlers hold up readers.
const lookBack = 256

// tryStalled sets the timer for the 100 of INVITEs whose handlers hold up their readers: run, which does it for others, has not come to that.
func (s *Server) tryStalled() {
	s.listMu.Lock()
	var young []*Request
	for r := s.list.prev; r != &s.list && len(young) < lookBack; r = r.prev {
		if r.Method == sip.INVITE {
			young = append(young, r)
		}
	}
	s.listMu.Unlock()
	for _, r := range young {
		r.mu.Lock()
		if !r.returned && !r.trying && !r.waiting && r.tx != nil && r.late.To == nil {
			r.armTrying()
		}
		r.mu.Unlock()
	}
}

// note counts a stall and reports whether it changes how handlers run.
func (w *stalls) note(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.start) > stallWindow {
		w.start, w.n = now, 0
	}
	w.n++
	if w.n != stallsTooFew {
		return false
	}
	return w.until.Swap(now.Add(stallPenalty).UnixNano()) == 0
}

// onGoroutines reports whether handlers run on goroutines for now.
func (s *Server) onGoroutines() bool {
	until := s.stalls.until.Load()
	if until == 0 {
		return false
	}
	if time.Now().UnixNano() < until {
		return true
	}
	s.stalls.until.CompareAndSwap(until, 0)
	return false
}
