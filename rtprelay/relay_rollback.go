package rtprelay

import (
	"context"
	"net/netip"
	"strings"

	"github.com/sipkit/sipkit/sipproxy"
)

// A position is a description that a party has sent, with what the engine was told about it.
type position struct {
	by     callSide
	sdp    string
	source netip.Addr
	opts   Options
}

// note keeps a description that the engine has taken. What both parties agreed on is needed when a later offer is refused.
func (rl *Relay) note(l *relayLeg, x *exchangeStep) {
	p := &position{x.by, strings.Clone(x.sdp), x.source, x.opts}
	rl.mu.Lock()
	defer rl.mu.Unlock()
	if l.gone {
		go rl.removeNow([]Ref{x.ref}) // a BYE came in between, and the engine has made the session anew
		return
	}
	if !x.answer {
		l.offered = p
		return
	}
	l.agreed[x.by-caller] = p
	if o := l.offered; o != nil && o.by != x.by {
		l.agreed[o.by-caller] = o
		l.offered = nil
	}
}

// rollBack tells the engine what was agreed before, when the offer of a request in the dialog has been refused: the session goes on as it was (RFC 3264 section 8, RFC 6141
// section 3.4), but the engine, asked about the offer, has prepared for it. The old offer and the old answer take it back; what it says to them, the same ports, nobody needs. It
// waits, so that no later offer of the party overtakes.
func (q *relayRequest) rollBack() {
	offered := len(q.branches) > 0 && q.branches[0].did == didOffer
	if !offered && !q.halfway {
		return // an engine that is silent is not asked again
	}
	rl, l := q.rl, q.leg
	rl.mu.Lock()
	mine, theirs, gone, ref := l.agreed[q.by-caller], l.agreed[q.by.other()-caller], l.gone, l.ref()
	l.offered = nil
	rl.mu.Unlock()
	switch {
	case gone:
		return
	case mine == nil || theirs == nil: // taken over from before a restart
		rl.count.unrolled.Add(1)
		return
	}
	sipproxy.Block(q.ctx, func() {
		ctx, cancel := rl.budget(context.Background())
		defer cancel()
		_, err := rl.take(ctx, mine.step(ref, false))
		if err == nil {
			_, err = rl.take(ctx, theirs.step(ref, true))
		}
		if err != nil {
			rl.count.unrolled.Add(1)
			return
		}
		rl.count.rolledBack.Add(1)
		rl.mu.Lock()
		gone = l.gone
		rl.mu.Unlock()
		if gone { // as in note
			rl.removeNow([]Ref{ref})
		}
	})
}

func (p *position) step(ref Ref, answer bool) *exchangeStep {
	return &exchangeStep{answer: answer, by: p.by, ref: ref, source: p.source, opts: p.opts, sdp: p.sdp}
}
