package registrar

import (
	"context"
	"sync/atomic"
)

// A turn is a lock that nobody waits for longer than his context lives. Taking one that is free, which is nearly always so, costs no more than a swap.
type turn struct {
	taken   atomic.Bool
	waiting atomic.Int32
	freed   chan struct{} // room for one: holds a token when the turn was given back while somebody waited
}

func (t *turn) take(ctx context.Context) error {
	if t.taken.CompareAndSwap(false, true) {
		return nil
	}
	return t.wait(ctx)
}

// wait is take for a turn that is taken. Whoever gives it back after waiting was counted leaves a token; one that nobody wanted wakes the next in vain.
func (t *turn) wait(ctx context.Context) error {
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	for !t.taken.CompareAndSwap(false, true) {
		select {
		case <-t.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (t *turn) give() {
	t.taken.Store(false)
	if t.waiting.Load() == 0 {
		return
	}
	select {
	case t.freed <- struct{}{}:
	default:
	}
}
