package sipproxy

import (
	"sync/atomic"

	"github.com/sipkit/sipkit/sip"
)

// An inlineTask runs the handler on the stack of the reader that brought the request: the cheapest way for a handler that does not wait. One that does all
// the same gives the reading away first, and keeps the goroutine. It is the Request itself.
type inlineTask Request

func (t *inlineTask) start(work job) {
	defer t.srv.tasks.done()
	if t.srv.strict != nil {
		t.gid = goroutineID()
	}
	work.run()
}

func (t *inlineTask) park() {
	t.stepAside()
	<-t.woken
}

func (t *inlineTask) wake() { t.woken <- struct{}{} }

func (t *inlineTask) block(f func()) {
	t.stepAside()
	f()
}

// stepAside is for a handler that waits after all: others read on, and the timer runs that start's caller would have set.
func (t *inlineTask) stepAside() {
	r := (*Request)(t)
	r.srv.waiters.note(r.Method)
	r.Flow.Release()
	r.mu.Lock()
	if r.late.To == nil {
		r.armTrying()
	}
	r.mu.Unlock()
}

func (t *inlineTask) outside(j job) {
	if j.run() {
		t.park()
	}
}

func (t *inlineTask) last(j job) { j.run() }
func (t *inlineTask) id() uint64 { return t.gid }

// waiters remembers for the methods that servers answer themselves, or pass on, whether their handlers wait. Those of an ACK do not; all others do.
type waiters struct {
	register, options atomic.Int32 // requests still to run as coroutines
}

// waitsFor is how many requests of a method run as coroutines after one that waited: giving the reading away costs as much as some twenty of them.
const waitsFor = 1000

func (w *waiters) of(m sip.Method) *atomic.Int32 {
	switch m {
	case sip.REGISTER:
		return &w.register
	case sip.OPTIONS:
		return &w.options
	}
	return nil
}

// expected reports whether a handler for that method is likely to wait.
func (w *waiters) expected(m sip.Method) bool {
	n := w.of(m)
	if n == nil {
		return true
	}
	if n.Load() <= 0 {
		return false
	}
	n.Add(-1)
	return true
}

func (w *waiters) note(m sip.Method) {
	if n := w.of(m); n != nil {
		n.Store(waitsFor)
	}
}
