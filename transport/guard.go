package transport

import (
	"sync"
	"sync/atomic"
	"time"
)

// A guard follows one reader, of a UDP socket or a connection, through the handler calls it makes. The reader's state
// belongs to the goroutine that owns the guard. When a call holds its goroutine for too long the watchdog gives the
// guard to a new goroutine, which goes on where the old one stood; the old one finds that out when its call returns.
type guard struct {
	progress atomic.Uint64 // odd while a handler call runs; moves on at both its ends
	loop     func(*turn)   // reads until the socket is closed or the turn is lost
	done     func()        // runs once, when loop has ended by itself

	listed atomic.Bool // the watchdog has it in its list
	seen   uint64      // progress when the watchdog last looked, and when that changed; under its mutex
	since  time.Duration
}

// A turn is one goroutine's ownership of a guard.
type turn struct {
	l      *Layer
	g      *guard
	at     uint64 // progress inside the running call
	inside bool
	lost   bool
}

// own runs the guard's loop on this goroutine. The caller has counted the goroutine in l.running.
func (l *Layer) own(g *guard) {
	t := &turn{l: l, g: g}
	ended := false
	defer func() {
		// Not ended: runtime.Goexit inside a handler (t.FailNow of a test). Reading goes on elsewhere.
		if !ended && t.leave() {
			go l.own(g)
		}
	}()
	g.loop(t)
	ended = true
	if !t.lost {
		g.done()
		l.running.Done()
	}
}

// enter marks the start of a handler call.
func (t *turn) enter() {
	t.at = t.g.progress.Add(1)
	t.inside = true
	if w := &t.l.watch; w.after > 0 && !t.g.listed.Load() {
		w.list(t.g)
	}
}

// leave marks its end and reports whether this goroutine still owns the guard.
func (t *turn) leave() bool {
	if t.inside {
		t.inside = false
		t.lost = !t.g.progress.CompareAndSwap(t.at, t.at+1)
	}
	return !t.lost
}

// take gives the guard, whose call number at is running, to a new goroutine.
func (l *Layer) take(g *guard, at uint64) bool {
	if !g.progress.CompareAndSwap(at, at+1) {
		return false
	}
	l.stats.stalls.Add(1)
	go l.own(g) // inherits the old one's place in l.running
	go l.cfg.Handler.Stalled()
	return true
}

func (g *guard) inCall() bool { return g.progress.Load()%2 == 1 }

// handOver gives the guard to a new goroutine at the wish of the one that is inside a call.
func (l *Layer) handOver(g *guard) {
	if at := g.progress.Load(); at%2 == 1 && g.progress.CompareAndSwap(at, at+1) {
		go l.own(g)
	}
}

// A watchdog looks for handler calls that last. It has one timer, armed only while readers are busy, which busy readers
// push ahead of them, so under load and in silence it never fires: a timer that fires wakes a thread.
type watchdog struct {
	l        *Layer
	after    time.Duration // 0: off
	base     time.Time
	deadline atomic.Int64 // of the timer, since base; 0: not armed
	mu       sync.Mutex
	watched  []*guard
	timer    *time.Timer
	closed   bool
}

func (w *watchdog) now() time.Duration { return time.Since(w.base) }

// list adds g, which has just entered a call, and arms the timer.
func (w *watchdog) list(g *guard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || g.listed.Load() {
		return
	}
	now := w.now()
	g.listed.Store(true)
	g.seen, g.since = g.progress.Load(), now
	w.watched = append(w.watched, g)
	if w.deadline.Load() == 0 {
		w.arm(now)
	}
}

// push is called by readers once a batch: it moves a near deadline away.
func (w *watchdog) push() {
	if w.after <= 0 {
		return
	}
	d := w.deadline.Load()
	if d == 0 {
		return
	}
	if now := w.now(); time.Duration(d)-now < w.after/2 {
		w.check(now)
	}
}

func (w *watchdog) arm(now time.Duration) {
	w.deadline.Store(int64(now + w.after))
	if w.timer == nil {
		w.timer = time.AfterFunc(w.after, func() { w.check(w.now()) })
		return
	}
	w.timer.Reset(w.after)
}

// check looks at every listed guard: replaces the stalled, drops the idle, and arms the timer while any are left.
func (w *watchdog) check(now time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	kept := w.watched[:0]
	for _, g := range w.watched {
		if w.keep(g, now) {
			kept = append(kept, g)
		}
	}
	clear(w.watched[len(kept):])
	w.watched = kept
	if len(kept) == 0 {
		w.deadline.Store(0)
		return
	}
	w.arm(now)
}

func (w *watchdog) keep(g *guard, now time.Duration) bool {
	p := g.progress.Load()
	if p%2 == 1 {
		if p != g.seen {
			g.seen, g.since = p, now
		} else if now-g.since >= w.after && w.l.take(g, p) {
			g.seen, g.since = p+1, now
		}
		return true
	}
	// In no call, so not to be watched. A reader that enters now either finds listed false or is found here.
	g.listed.Store(false)
	if g.progress.Load() == p {
		return false
	}
	g.listed.Store(true)
	return true
}

func (w *watchdog) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
