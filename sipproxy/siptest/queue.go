package siptest

import (
	"sync"
	"time"
)

// A queue hands values from the goroutines of a phone to its test. Nobody waits to put.
type queue[V any] struct {
	mu     sync.Mutex
	items  []V
	notify chan struct{}
}

func newQueue[V any]() *queue[V] { return &queue[V]{notify: make(chan struct{}, 1)} }

func (q *queue[V]) put(v V) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, v)
	signal(q.notify)
}

func (q *queue[V]) poll() (v V, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return v, false
	}
	v = q.items[0]
	q.items = q.items[1:]
	if len(q.items) > 0 {
		signal(q.notify)
	}
	return v, true
}

// get waits at most d, or until done closes.
func (q *queue[V]) get(d time.Duration, done <-chan struct{}) (v V, ok bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		if v, ok = q.poll(); ok {
			return v, true
		}
		select {
		case <-q.notify:
		case <-done:
			return v, false
		case <-t.C:
			return q.poll()
		}
	}
}
