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
	if w := &t.l.watch; w.after > 0 {
		w.entered(t.g)
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

// A watchdog looks for handler calls that last. While a single reader is in calls, which is the usual case, its alarm never goes off: the reader
// pushes it ahead of itself, with a system call every few milliseconds and not one a call. An alarm that goes off costs a switch of threads.
// With several readers it goes off at a steady beat, because none of them may push it past the others. In silence nothing is set.
type watchdog struct {
	l     *Layer
	after time.Duration // how long a call may last; 0: for ever
	base  time.Time
	sole  atomic.Pointer[guard] // the only one that is watched
	due   atomic.Int64          // when the alarm goes off, since base

	mu      sync.Mutex
	alarm   Alarm
	watched []*guard
	closed  bool
}

func (w *watchdog) now() time.Duration { return time.Since(w.base) }

// entered sees to it that the alarm goes off when the call that g has just entered is too old, at the latest when it is twice as old.
func (w *watchdog) entered(g *guard) {
	if !g.listed.Load() {
		w.list(g)
		return
	}
	if w.sole.Load() != g {
		return
	}
	if now := w.now(); time.Duration(w.due.Load())-now < w.after {
		w.set(now, 2*w.after)
	}
}

func (w *watchdog) set(now, d time.Duration) {
	w.due.Store(int64(now + d))
	w.alarm.Set(d)
}

// list adds g, which has just entered a call.
func (w *watchdog) list(g *guard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.listed.Load() || w.closed {
		return
	}
	now := w.now()
	g.seen, g.since = g.progress.Load(), now
	w.watched = append(w.watched, g)
	if w.alarm == nil {
		w.alarm = w.l.NewAlarm(w.beat)
	}
	w.alone()
	if len(w.watched) == 1 {
		w.set(now, 2*w.after)
	}
	g.listed.Store(true) // last: from here on g uses the alarm
}

// alone keeps sole up to date.
func (w *watchdog) alone() {
	if len(w.watched) == 1 {
		w.sole.Store(w.watched[0])
	} else {
		w.sole.Store(nil)
	}
}

// beat is the alarm's function. It looks at every listed guard: it replaces the stalled and drops the idle.
func (w *watchdog) beat() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	now := w.now()
	if left := time.Duration(w.due.Load()) - now; left > 0 { // pushed while this was on its way
		w.alarm.Set(left)
		return
	}
	began := now // at the latest, of a call that no beat has seen yet
	if len(w.watched) == 1 {
		began -= w.after // else its reader would have pushed the alarm
	}
	kept := w.watched[:0]
	for _, g := range w.watched {
		if w.keep(g, now, began) {
			kept = append(kept, g)
		}
	}
	clear(w.watched[len(kept):])
	w.watched = kept
	w.alone()
	if len(kept) > 0 {
		w.set(now, w.after)
	}
}

func (w *watchdog) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.alarm != nil {
		w.alarm.Close()
	}
}

// keep reports whether g is to be watched on. It takes the reading from a call that is too old; one that no beat has seen yet began at began, or before.
func (w *watchdog) keep(g *guard, now, began time.Duration) bool {
	p := g.progress.Load()
	if p%2 == 1 {
		if p != g.seen {
			g.seen, g.since = p, began
		}
		if now-g.since >= w.after-w.after/16 && w.l.take(g, p) { // beats are not quite even
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
