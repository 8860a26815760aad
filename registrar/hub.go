package registrar

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// A change is an Update or an expiry as the hub passes it on: packed, so that
// telling it costs the updater next to nothing and the watcher does the work.
type change struct {
	aor       AOR
	old, next string
	now       int64 // Unix nanoseconds
}

// A hub hands changes to watchers, each with a bounded queue of its own.
type hub struct {
	watchers atomic.Pointer[[]*watcher] // nil: none; replaced as a whole
	mu       sync.Mutex                 // guards replacing
	dropped  atomic.Uint64
	closed   chan struct{}
}

type watcher struct {
	mu    sync.Mutex
	queue []change
	wake  chan struct{} // holds a token when the queue may hold something
}

func (h *hub) init() { h.closed = make(chan struct{}) }

func (h *hub) close() { close(h.closed) }

// watched reports whether anybody wants to know.
func (h *hub) watched() bool { return h.watchers.Load() != nil }

// publish queues c for every watcher that has room.
func (h *hub) publish(c change, limit int) {
	l := h.watchers.Load()
	if l == nil {
		return
	}
	for _, w := range *l {
		if !w.offer(c, limit) {
			h.dropped.Add(1)
		}
	}
}

func (w *watcher) offer(c change, limit int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) >= limit {
		return false
	}
	w.queue = append(w.queue, c)
	if len(w.queue) == 1 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take swaps the queue for an empty one.
func (w *watcher) take(spare []change) []change {
	w.mu.Lock()
	defer w.mu.Unlock()
	full := w.queue
	w.queue = spare
	return full
}

// watch runs f on every change until ctx ends or the hub is closed.
func (h *hub) watch(ctx context.Context, f func(change)) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	h.set(func(l []*watcher) []*watcher { return append(l, w) })
	defer h.set(func(l []*watcher) []*watcher {
		return slices.DeleteFunc(l, func(x *watcher) bool { return x == w })
	})
	var spare []change
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.closed:
			return ErrClosed
		case <-w.wake:
		}
		full := w.take(spare[:0])
		for _, c := range full {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			f(c)
		}
		clear(full)
		spare = full
	}
}

func (h *hub) set(edit func([]*watcher) []*watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var l []*watcher
	if p := h.watchers.Load(); p != nil {
		l = slices.Clone(*p)
	}
	if l = edit(l); len(l) == 0 {
		h.watchers.Store(nil)
		return
	}
	h.watchers.Store(&l)
}
