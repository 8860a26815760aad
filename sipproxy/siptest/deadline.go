package siptest

import (
	"sync"
	"time"
)

// A deadline is a channel that closes at an instant which may be moved.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ch    chan struct{}
	gen   int
}

func (d *deadline) init() { d.ch = make(chan struct{}) }

// wait returns the channel that closes at the deadline set now.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ch
}

func (d *deadline) passed() bool {
	select {
	case <-d.wait():
		return true
	default:
		return false
	}
}

// set moves the deadline; waiters on an open channel stay on it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.ch:
		d.ch = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		close(d.ch)
		return
	}
	gen := d.gen
	d.timer = time.AfterFunc(wait, func() { d.fire(gen) })
}

func (d *deadline) fire(gen int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gen == d.gen {
		close(d.ch)
	}
}

// stop ends the timer; the deadline is not used again.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	if d.timer != nil {
		d.timer.Stop()
	}
}
