package dialog

import (
	"context"
	"sync"

	"github.com/sipkit/sipkit/sip"
)

// maxSilent is how many probes running a party may leave without an answer.
const maxSilent = 2

// probe asks both parties whether the dialog lives.
func (t *Tracker) probe(d *dialog) {
	ctx, cancel := context.WithTimeout(context.Background(), byeWait)
	defer cancel()
	var dead [2]bool
	var wg sync.WaitGroup
	for i, side := range [2]Side{Caller, Callee} {
		wg.Go(func() { dead[i] = t.gone(ctx, d, side) })
	}
	wg.Wait()
	if !dead[0] && !dead[1] {
		return
	}
	const reason = "party gone"
	if t.stop(d, Proxy, reason, 0, t.now(), t.media(ctx, d)) {
		t.count.dead.Add(1)
		ctx, cancel := context.WithTimeout(context.Background(), byeWait)
		defer cancel()
		_ = t.hangUp(ctx, d, reason)
	}
}

// gone probes one party. Every answer but 481 shows that it is there, 500 for a CSeq that is not new included.
func (t *Tracker) gone(ctx context.Context, d *dialog, side Side) bool {
	res, err := t.send(ctx, d, side, sip.OPTIONS, "")
	if err != nil {
		return false // nothing to ask at
	}
	s := t.shard(d.call.callID)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &d.silent[side-1]
	switch {
	case res.Code == 481 && res.Cause == nil:
		return true
	case res.Cause != nil || res.Code == 408:
		*n++
		return *n >= maxSilent
	}
	*n = 0
	return false
}
