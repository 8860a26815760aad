package rtprelay

import (
	"context"
	"errors"
)

// TimedOut is for the time-out events of an engine that follows whole calls: set it as Embedded.OnTimeout, or as Notifications.OnTimeout for rtpengines. It forgets the
// leg, fills in what the event does not say of its tags, and calls OnTimeout. Tags may come in any order, or be empty. A call that still rings is left to Timer C: should it
// be answered, the engine has no session for the answer, and OnFailure hears of it.
func (rl *Relay) TimedOut(ref Ref) {
	rl.setup()
	rl.mu.Lock()
	l := rl.named(ref)
	if l != nil && !l.confirmed {
		rl.mu.Unlock()
		rl.count.ringingOut.Add(1)
		return
	}
	if l != nil {
		ref = l.ref()
		rl.unlist(l)
	}
	rl.mu.Unlock()
	rl.count.timedOut.Add(1)
	if rl.OnTimeout != nil {
		rl.OnTimeout(ref)
	}
}

// StreamTimedOut is for the events of RTPProxies, which follow each stream by itself and know nothing of hold: set it as Notifications.OnTimeout for them. A call on hold goes on
// without a session: the offer that takes it back makes a new one. So does a call with another stream that still has one: the engine is asked, on a goroutine. Else
// it is TimedOut.
func (rl *Relay) StreamTimedOut(ref Ref) {
	rl.setup()
	rl.mu.Lock()
	l := rl.named(ref)
	held := l != nil && (l.holding[0] || l.holding[1])
	if l != nil {
		ref = l.ref()
	}
	rl.mu.Unlock()
	if held {
		rl.count.heldOut.Add(1)
		return
	}
	go func() {
		ctx, cancel := rl.budget(context.Background())
		defer cancel()
		switch _, err := rl.engine.Query(ctx, ref); {
		case err == nil:
			rl.count.streamOut.Add(1)
		case errors.Is(err, ErrNoSession), l != nil:
			rl.TimedOut(ref)
		}
	}()
}

// named finds the leg that an event means; rl.mu is held.
func (rl *Relay) named(ref Ref) *relayLeg {
	for l := rl.calls[ref.CallID]; l != nil; l = l.next {
		if l.id == ref.Leg && (l.from == ref.FromTag || l.from == ref.ToTag || ref.FromTag == "") {
			return l
		}
	}
	return nil
}
