package rtprelay

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// An exchangeStep is one description on its way through the engine.
type exchangeStep struct {
	answer bool
	by     callSide // whose description it is
	ref    Ref
	source netip.Addr
	opts   Options
	sdp    string // as the party wrote it; filled in by rewrite
}

// errNoSDP: the message carries no description.
var errNoSDP = errors.New("rtprelay: no session description")

// describes reports whether a message carries a description that can be got at.
func describes(h *sip.Header) bool {
	if h.Body() == "" || h.Has("Content-Encoding") {
		return false
	}
	_, _, _, ok := SplitBody(h.ContentType(), h.Body())
	return ok
}

// rewrite takes the description in h through the engine. On an error h is as it was. It waits, without holding up a reader. The end of until ends the wait.
func (rl *Relay) rewrite(ctx, until context.Context, h *sip.Header, x *exchangeStep) (Result, error) {
	before, sdp, after, ok := SplitBody(h.ContentType(), h.Body())
	if !ok || h.Has("Content-Encoding") {
		return Result{}, errNoSDP
	}
	x.sdp = sdp
	var res Result
	var err error
	sipproxy.Block(ctx, func() {
		c, cancel := rl.budget(until)
		defer cancel()
		res, err = rl.take(c, x)
	})
	if err != nil {
		return Result{}, err
	}
	if res.Streams == 0 {
		return res, nil // whatever it says, nothing is relayed
	}
	if err := plausible(sdp, res.SDP); err != nil {
		return res, err
	}
	h.SetBody(h.ContentType(), before+res.SDP+after)
	return res, nil
}

// take asks the engine.
func (rl *Relay) take(ctx context.Context, x *exchangeStep) (Result, error) {
	offerer := x.by
	if x.answer {
		offerer = x.by.other()
	}
	p := Params{Ref: x.ref, Swap: offerer == callee, SDP: x.sdp, Source: x.source, Options: x.opts}
	if x.answer {
		return rl.engine.Answer(ctx, p)
	}
	return rl.engine.Offer(ctx, p)
}

// plausible looks at what an engine wrote before anybody gets it.
func plausible(in, out string) error {
	a, err := ParseSDP(in)
	if err != nil {
		return err
	}
	b, err := ParseSDP(out)
	switch {
	case err != nil:
		return &ReplyError{Reply: out[:min(len(out), 100)], Why: "no description"}
	case len(a.Media) != len(b.Media):
		return &ReplyError{Reply: out[:min(len(out), 100)], Why: "another number of streams"}
	}
	return nil
}

// failed counts what becomes of an error. It reports whether the description should have been relayed, and the engine could not.
func (rl *Relay) failed(ref Ref, err error) bool {
	c := &rl.count
	switch {
	case errors.Is(err, errNoSDP):
		return false
	case errors.Is(err, ErrAlreadyRelayed):
		c.marked.Add(1)
		return false
	case errors.Is(err, ErrBadSDP):
		c.bad.Add(1)
		return false
	case errors.Is(err, ErrNoSession):
		c.orphans.Add(1)
	}
	c.failed.Add(1)
	if rl.OnFailure != nil {
		rl.OnFailure(ref, err)
	}
	return true
}

// remove deletes sessions, all at once.
func (rl *Relay) remove(ctx context.Context, refs []Ref) {
	if len(refs) == 0 {
		return
	}
	sipproxy.Block(ctx, func() { rl.removeNow(refs) })
}

func (rl *Relay) removeNow(refs []Ref) {
	c, cancel := rl.budget(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	for _, ref := range refs {
		one := func() {
			rl.count.deletes.Add(1)
			if rl.engine.Delete(c, ref) != nil {
				rl.count.undeleted.Add(1)
			}
		}
		if len(refs) == 1 {
			one()
			return
		}
		wg.Go(one)
	}
	wg.Wait()
}
