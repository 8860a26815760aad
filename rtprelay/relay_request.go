package rtprelay

import (
	"context"
	"net/netip"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// A relayRequest is one request on its way: the hooks of Relay. Handler and hooks run one at a time.
type relayRequest struct {
	rl       *Relay
	ctx      context.Context
	r        *sipproxy.Request
	wanted   bool      // When says yes
	leg      *relayLeg // of the dialog; nil outside
	adopt    bool      // leg is from a Route parameter, and not yet in the table
	by       callSide  // who sent the request
	refused  bool      // a branch was, for lack of an engine
	halfway  bool      // the engine may have done a part of what it failed at
	branches []relayBranch
}

// A relayBranch is what was done about a branch.
type relayBranch struct {
	id    int
	leg   *relayLeg
	did   relayDid
	holds hold // what the request's description says
}

type relayDid uint8

const (
	didNothing relayDid = iota
	didOffer            // the request carried an offer, and it is relayed
	didAnswer           // the request carried the answer
	didAsk              // the request carried nothing: the response brings the offer
)

// invite is for an INVITE outside a dialog.
func (rl *Relay) invite(ctx context.Context, r *sipproxy.Request, next sipproxy.Handler) *sip.Response {
	q := &relayRequest{rl: rl, ctx: ctx, r: r, by: caller}
	q.wanted = rl.When == nil && rl.WhenBranch == nil || rl.When != nil && rl.When(r)
	if !q.wanted && rl.WhenBranch == nil {
		return next.ServeSIP(ctx, r)
	}
	r.OnBranch(q.first)
	r.OnResponse(q.response)
	defer q.tidy()
	return q.verdict(next.ServeSIP(ctx, r))
}

// verdict lets the code of a refused branch go upstream as our own, a 503 too.
func (q *relayRequest) verdict(res *sip.Response) *sip.Response {
	if q.refused && res.Is(q.rl.code()) && res.Cause != nil && res.Cause != sip.ErrLocal {
		return q.r.Reply(res.Code)
	}
	return res
}

// first is OnBranch of an INVITE outside a dialog: a leg for each branch.
func (q *relayRequest) first(b *sipproxy.Branch) {
	if !q.wanted && !q.rl.WhenBranch(b) {
		return
	}
	l := &relayLeg{callID: q.r.CallID(), from: q.r.FromTag(), id: b.ID, branch: b.ID, request: hashOf(q.r.Branch()), gone: true}
	if q.rl.Group != nil {
		l.group = q.rl.Group(q.r)
	}
	if !q.keep(l) {
		q.refuse(b)
		return
	}
	br := relayBranch{id: b.ID, leg: l, did: didAsk}
	if describes(&b.Request.Header) {
		br.did = didOffer
		res, err := q.offer(b, l)
		if err != nil || res.Streams == 0 {
			q.rl.mu.Lock()
			q.rl.unlist(l)
			q.rl.mu.Unlock()
			return
		}
		q.settle(l, caller, res.Node)
	}
	q.branches = append(q.branches, br)
}

// offer takes the offer in the request through the engine, and does what the policy says when that fails.
func (q *relayRequest) offer(b *sipproxy.Branch, l *relayLeg) (Result, error) {
	x := q.step(b, l, q.by, q.r.Source, false)
	res, err := q.rl.rewrite(q.ctx, q.ctx, &b.Request.Header, &x)
	q.halfway = err != nil && (q.ctx.Err() != nil || !noAnswer(err))
	switch {
	case err != nil && q.ctx.Err() != nil: // cancelled meanwhile: no fault of the engine, and the branch will not be sent
	case err != nil:
		ref := l.ref()
		if !q.rl.Pass {
			ref.ToTag = "" // within a call, that one goes on as it was
		}
		if q.rl.failed(ref, err) {
			q.refuse(b)
		}
	case res.Streams == 0:
		q.rl.count.nothing.Add(1)
	default:
		q.rl.count.offers.Add(1)
		q.rl.note(l, &x)
	}
	return res, err
}

// step describes a description of a party.
func (q *relayRequest) step(b *sipproxy.Branch, l *relayLeg, by callSide, source transport.Addr, answer bool) exchangeStep {
	x := exchangeStep{answer: answer, by: by, source: addrOf(source)}
	q.rl.mu.Lock()
	x.ref = l.ref()
	q.rl.mu.Unlock()
	if q.rl.Options != nil {
		x.opts = q.rl.Options(b, by == caller)
	}
	if q.rl.Bridge && x.opts.IPv6 == nil && x.opts.To == "" {
		x.opts.IPv6 = family(x.source, q.towards(b, by))
	}
	return x
}

// towards is where the message with a description of that party goes: with the request, or back.
func (q *relayRequest) towards(b *sipproxy.Branch, by callSide) netip.Addr {
	if by != q.by {
		return addrOf(q.r.Source)
	}
	switch t := &b.Target; {
	case !t.Flow.IsZero():
		return addrOf(t.Flow.Remote())
	case t.Next.AddrPort.IsValid():
		return addrOf(t.Next)
	case b.Remote.AddrPort.IsValid():
		return addrOf(b.Remote)
	}
	ip, _ := b.Request.URI.IP() // a name or a Route may lead elsewhere: no family then
	if b.Request.Has("Route") {
		return netip.Addr{}
	}
	return ip.Unmap()
}

// family is Options.IPv6 for a description on its way between two hosts: nil when they share it, or one is not known.
func family(from, to netip.Addr) *bool {
	if !from.IsValid() || !to.IsValid() || from.Is4() == to.Is4() {
		return nil
	}
	six := to.Is6()
	return &six
}

func addrOf(a transport.Addr) netip.Addr { return a.AddrPort.Addr().Unmap() }

// keep puts a leg into the table.
func (q *relayRequest) keep(l *relayLeg) bool {
	q.rl.mu.Lock()
	expired, ok := q.rl.enlist(l)
	q.rl.mu.Unlock()
	if len(expired) > 0 {
		go q.rl.removeNow(expired)
	}
	return ok
}

// refuse ends a branch, unless the policy or the method lets it go on unchanged.
func (q *relayRequest) refuse(b *sipproxy.Branch) {
	if q.rl.Pass || q.r.Method == sip.ACK {
		q.rl.count.passed.Add(1)
		return
	}
	q.rl.count.refused.Add(1)
	b.Refuse(q.rl.code())
	q.refused = true
}

func (q *relayRequest) of(b *sipproxy.Branch) *relayBranch {
	for i := range q.branches {
		if q.branches[i].id == b.ID {
			return &q.branches[i]
		}
	}
	return nil
}

// response is OnResponse.
func (q *relayRequest) response(b *sipproxy.Branch, res *sip.Response) {
	br := q.of(b)
	if br == nil || res.Cause != nil || res.Code <= 100 || res.Code >= 300 {
		return
	}
	confirms := q.leg == nil && res.IsSuccess()
	if !q.meet(br.leg, res.ToTag(), confirms) {
		return
	}
	ok := true
	if describes(&res.Header) {
		switch br.did {
		case didOffer:
			ok = q.answer(b, br.leg, res)
		case didAsk:
			ok = q.lateOffer(b, br.leg, res)
		}
	}
	if ok && res.IsSuccess() {
		q.extras(br, confirms)
	}
}

// meet notes the callee's tag. It reports false for a dialog that shares its branch with one that is confirmed, and for a leg that is gone: their descriptions pass as
// they are.
func (q *relayRequest) meet(l *relayLeg, tag string, confirms bool) bool {
	q.rl.mu.Lock()
	defer q.rl.mu.Unlock()
	switch {
	case l.gone:
		return false
	case q.leg != nil:
		return true
	case l.to != tag && l.confirmed:
		return false
	case l.to != tag:
		l.to = cloneOf(tag)
	}
	l.confirmed = l.confirmed || confirms
	return true
}

// answer takes the answer in a response through the engine.
func (q *relayRequest) answer(b *sipproxy.Branch, l *relayLeg, res *sip.Response) bool {
	x := q.step(b, l, q.by.other(), b.Remote, true)
	out, err := q.rl.rewrite(q.ctx, context.Background(), &res.Header, &x)
	if !q.taken(x.ref, out, err) {
		return false
	}
	q.rl.count.answers.Add(1)
	q.rl.note(l, &x)
	if res.IsSuccess() || reliable(res) {
		q.settle(l, nobody, "")
	}
	return true
}

// lateOffer takes the offer in a response through the engine (RFC 3261 §13.2.1); the answer comes in ACK or PRACK.
func (q *relayRequest) lateOffer(b *sipproxy.Branch, l *relayLeg, res *sip.Response) bool {
	x := q.step(b, l, q.by.other(), b.Remote, false)
	out, err := q.rl.rewrite(q.ctx, context.Background(), &res.Header, &x)
	if !q.taken(x.ref, out, err) {
		return false
	}
	q.rl.count.offers.Add(1)
	q.rl.note(l, &x)
	q.settle(l, q.by.other(), out.Node)
	return true
}

// taken counts how a description that cannot be refused any more has fared; it reports whether it was rewritten.
func (q *relayRequest) taken(ref Ref, out Result, err error) bool {
	switch {
	case err != nil:
		if q.rl.failed(ref, err) {
			q.rl.count.passed.Add(1)
		}
		return false
	case out.Streams == 0:
		q.rl.count.nothing.Add(1)
		return false
	}
	return true
}

// settle notes whose offer waits for an answer.
func (q *relayRequest) settle(l *relayLeg, pending callSide, node string) {
	q.rl.mu.Lock()
	l.pending = pending
	if node != "" {
		l.node = cloneOf(node)
	}
	q.rl.mu.Unlock()
}

// reliable reports a provisional response that is acknowledged by PRACK (RFC 3262): its description is the answer, not a preview.
func reliable(res *sip.Response) bool {
	return res.Code < 200 && res.Has("RSeq")
}

// tidy ends the INVITE: legs that were not confirmed go, their branches having failed, lost or been cancelled.
func (q *relayRequest) tidy() {
	var refs []Ref
	q.rl.mu.Lock()
	for i := range q.branches {
		if l := q.branches[i].leg; !l.confirmed && !l.gone {
			refs = append(refs, l.ref())
			q.rl.unlist(l)
		}
	}
	q.rl.mu.Unlock()
	q.rl.remove(q.ctx, refs)
}
