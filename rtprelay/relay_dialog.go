package rtprelay

import (
	"context"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

func cloneOf(s string) string { return strings.Clone(s) }

// within is for requests in dialogs. What it does happens when the request is forwarded: by then recordroute has let it pass.
func (rl *Relay) within(ctx context.Context, r *sipproxy.Request, next sipproxy.Handler) *sip.Response {
	switch r.Method {
	case sip.INVITE, sip.BYE:
	case sip.ACK, sip.PRACK, sip.UPDATE:
		if !describes(&r.Header) {
			return next.ServeSIP(ctx, r)
		}
	default:
		return next.ServeSIP(ctx, r)
	}
	q := &relayRequest{rl: rl, ctx: ctx, r: r}
	rl.mu.Lock()
	if q.leg, q.by = rl.find(r.CallID(), r.FromTag(), r.ToTag()); q.leg != nil {
		rl.touch(q.leg)
	}
	rl.mu.Unlock()
	if q.leg == nil {
		if q.leg, q.by = fromRoute(r); q.leg == nil || rl.anothers(q.leg) {
			return next.ServeSIP(ctx, r)
		}
		q.adopt = true
		if rl.Group != nil {
			q.leg.group = rl.Group(r)
		}
	}
	switch r.Method {
	case sip.BYE:
		return q.bye(ctx, next)
	case sip.ACK:
		r.OnBranch(q.again)
		return next.ServeSIP(ctx, r)
	}
	r.OnBranch(q.again)
	r.OnResponse(q.response)
	res := q.verdict(next.ServeSIP(ctx, r))
	if !res.IsSuccess() && r.Method != sip.PRACK {
		q.settle(q.leg, nobody, "") // an offer that was refused waits for nothing (RFC 3264 §4)
		q.rollBack()
	}
	return res
}

// anothers reports whether the session of l belongs to another dialog: a proxy behind us forked, and two callees answered.
func (rl *Relay) anothers(l *relayLeg) bool {
	rl.mu.Lock()
	defer rl.mu.Unlock()
	return rl.taken(l)
}

// bye deletes the session when the BYE's transaction is over, whatever became of it; not when it was challenged or refused here.
func (q *relayRequest) bye(ctx context.Context, next sipproxy.Handler) *sip.Response {
	res := next.ServeSIP(ctx, q.r)
	if res == nil || res == sipproxy.NoReply || res.Is(401, 407) || res.Cause == sip.ErrLocal && !res.IsSuccess() {
		return res
	}
	rl := q.rl
	rl.mu.Lock()
	l := q.leg
	known := !l.gone && l.confirmed || q.adopt // an early dialog's session is the INVITE's
	ref := l.ref()
	if known && !q.adopt {
		rl.unlist(l)
	}
	rl.mu.Unlock()
	if known {
		rl.remove(ctx, []Ref{ref})
	}
	return res
}

// again is OnBranch of a request in a dialog.
func (q *relayRequest) again(b *sipproxy.Branch) {
	if q.adopt {
		q.adopt = false
		q.rl.count.adopted.Add(1)
		if !q.keep(q.leg) {
			q.refuse(b)
			return
		}
	}
	br := relayBranch{id: b.ID, leg: q.leg}
	h := &b.Request.Header
	switch {
	case !describes(h):
		br.did = didAsk // a re-INVITE
	case q.answering():
		br.did = didAnswer
		q.answerInRequest(b)
	default:
		br.holds = holdOf(h)
		res, err := q.offer(b, q.leg)
		if err != nil || res.Streams == 0 {
			return
		}
		br.did = didOffer
		q.settle(q.leg, q.by, res.Node)
	}
	q.branches = append(q.branches, br)
}

// answering tells what a description in a request is: in an ACK the answer to the offer in the 2xx, in a PRACK to one in the provisional response when that
// waits for its answer, else an offer (RFC 3261 §13.2.1, RFC 3262 §5, RFC 3311).
func (q *relayRequest) answering() bool {
	switch q.r.Method {
	case sip.ACK:
		return true
	case sip.PRACK:
		q.rl.mu.Lock()
		defer q.rl.mu.Unlock()
		return q.leg.pending == q.by.other()
	}
	return false
}

func (q *relayRequest) answerInRequest(b *sipproxy.Branch) {
	x := q.step(b, q.leg, q.by, q.r.Source, true)
	out, err := q.rl.rewrite(q.ctx, context.Background(), &b.Request.Header, &x)
	if q.taken(x.ref, out, err) {
		q.rl.count.answers.Add(1)
		q.rl.note(q.leg, &x)
		q.settle(q.leg, nobody, "")
	}
}
