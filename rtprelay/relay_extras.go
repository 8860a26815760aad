package rtprelay

import (
	"context"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// hold is what a description says about hold (RFC 3264 §8.4).
type hold uint8

const (
	holdUnknown hold = iota
	holdOn           // the sender does not want to hear the other party
	holdOff
)

// holdOf looks at the first stream that is switched on.
func holdOf(h *sip.Header) hold {
	_, sdp, _, _ := SplitBody(h.ContentType(), h.Body())
	d, err := ParseSDP(sdp)
	if err != nil {
		return holdUnknown
	}
	for i := range d.Media {
		m := &d.Media[i]
		switch {
		case !m.Relayed():
		case m.Held() || m.Direction == SendOnly || m.Direction == Inactive:
			return holdOn
		default:
			return holdOff
		}
	}
	return holdUnknown
}

// extras starts and stops what a 2xx calls for: recording, and music for who is put on hold.
func (q *relayRequest) extras(br *relayBranch, confirms bool) {
	record := confirms && q.rl.Record != nil && q.rl.Record(q.r)
	play, stop := q.music(br)
	if !record && !play && !stop {
		return
	}
	q.rl.mu.Lock()
	ref := br.leg.ref()
	q.rl.mu.Unlock()
	sipproxy.Block(q.ctx, func() {
		c, cancel := q.rl.budget(context.Background())
		defer cancel()
		if record {
			q.rl.did(q.rl.record(c, ref))
		}
		if play || stop {
			q.rl.did(q.rl.music(c, ref, q.by == caller, play))
		}
	})
}

// music notes whether the sender of the request has now put the other party on hold, or taken it back, and tells what is to be heard then.
func (q *relayRequest) music(br *relayBranch) (play, stop bool) {
	if br.holds == holdUnknown || br.did != didOffer {
		return false, false
	}
	q.rl.mu.Lock()
	defer q.rl.mu.Unlock()
	was := &br.leg.holding[q.by-caller]
	on := br.holds == holdOn
	play, stop = on && !*was, !on && *was
	*was = on
	if q.rl.MusicOnHold == "" {
		return false, false
	}
	return play, stop
}

func (rl *Relay) did(err error) {
	if err != nil {
		rl.count.unplayed.Add(1)
	}
}

func (rl *Relay) record(ctx context.Context, ref Ref) error {
	r, ok := rl.engine.(Recorder)
	if !ok {
		return ErrUnsupported
	}
	return r.Record(ctx, ref)
}

func (rl *Relay) music(ctx context.Context, ref Ref, toAnswerer, play bool) error {
	p, ok := rl.engine.(Player)
	switch {
	case !ok:
		return ErrUnsupported
	case play:
		return p.Play(ctx, ref, toAnswerer, rl.MusicOnHold, -1)
	}
	return p.Stop(ctx, ref, toAnswerer)
}
