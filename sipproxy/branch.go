package sipproxy

import (
	"errors"
	"strconv"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// branch is the state of a Branch in the engine, guarded by its request's mu.
type branch struct {
	fork    *fork
	query   *transport.Query // for the DNS
	base    *sip.Request     // the copy before a try; nil in one behind which no further one can come
	addrs   []transport.Addr
	addr    [1]transport.Addr
	client  *transaction.Client
	refused *sip.Response // stateless: why it was not sent
	instead *byUDP        // stateless: what to send when TCP is refused

	barred      int // the code of Refuse
	step        step
	wants       want
	large       bool  // too large for UDP, and TCP has been tried
	provisional bool  // a 1xx was received
	ended       bool  // it counts as finished, whatever may still arrive
	forked      bool  // Fork was called for it
	tls         bool  // a sip request for a sips contact: it stays one and goes by TLS
	shared      bool  // its part of the breadth was told
	share       int32 // that part, 0 once it was given back
	expired     int   // we cancelled it for lack of time: the code its 487 stands for
	timer       transaction.Timer
	started     transaction.Instant
	deadline    transaction.Instant
	kept        []kept // 2xx as the hooks left them
}

// Fork adds branches to the fork b belongs to. It is called from OnResponse, before the response counts: to follow the contacts
// of a 3xx, or to try one more target while b rings. A 3xx that is left without Contact then no longer counts itself.
// It takes none once the fork is decided, and no more than Limits.Branches and the breadth of the request (RFC 5393; 60 when it says none)
// leave room for. taken is how many it took, the first ones.
func (b *Branch) Fork(t ...Target) (taken int) {
	b.Of.onTask("Fork")
	b.Of.mu.Lock()
	defer b.Of.mu.Unlock()
	for i := range t {
		if b.fork.narrow() {
			b.Of.srv.count.overBranches.Add(1)
			continue
		}
		if b.fork.add(&t[i]) != nil {
			b.forked = true
			taken++
		}
	}
	return taken
}

// Refuse keeps the branch from being sent. From OnBranch it ends the branch with a response of that code; from OnSend it rules
// out the address at hand, and the branch ends with the code when no other is left. Elsewhere it does nothing.
func (b *Branch) Refuse(code int) { b.barred = code }

// bar carries out Refuse. Called on the task, without r.mu.
func (b *Branch) bar() {
	code := b.barred
	b.barred = 0
	if b.step == stepSend && b.Try+1 < len(b.addrs) {
		b.Try++
		b.step = stepDress
		return
	}
	b.step = b.conclude(b.Of.made(code, errBarred))
}

// end takes the branch out of its fork's count. Called with r.mu held.
func (b *Branch) end() {
	if b.ended {
		return
	}
	b.ended = true // base stays: the task may be at work on it
	b.unshare()
	b.fork.open--
	b.Of.srv.txs.StopTimer(&b.timer)
}

// arm starts the branch's clock when it is sent: Trying counts from each try, Ring from the first. Called with r.mu held.
func (b *Branch) arm() {
	if b.Target.Trying == 0 && b.Target.Ring == 0 {
		return
	}
	now := b.Of.srv.txs.Now()
	if b.started == 0 {
		b.started = max(now, 1)
	}
	d := b.Target.Trying
	if ring := b.Target.Ring; ring > 0 {
		if left := max(1, ring-time.Duration(now-b.started)); d == 0 || left < d {
			d = left
		}
	}
	if d > 0 {
		b.setDeadline(d)
	}
}

// heard restarts the clock at a 1xx: what counts from here is Ring, else Timer C (§16.7 step 2). Called with r.mu held.
func (b *Branch) heard(code int) {
	first := !b.provisional
	b.provisional = true
	switch {
	case b.ended || b.expired != 0:
	case b.Target.Ring > 0:
		if first {
			b.setDeadline(b.Target.Ring - time.Duration(b.Of.srv.txs.Now()-b.started))
		}
	case b.Of.Method != sip.INVITE:
		if first {
			b.Of.srv.txs.StopTimer(&b.timer) // Timer F bounds it
		}
	case first:
		b.setDeadline(b.Of.srv.timerC())
	case code != 100:
		b.deadline = b.Of.srv.txs.Now() + transaction.Instant(b.Of.srv.timerC()) // the timer catches up when it fires
	}
}

func (b *Branch) setDeadline(d time.Duration) {
	b.timer.To = (*branchClock)(b)
	b.deadline = b.Of.srv.txs.SetTimer(&b.timer, d)
}

// A branchClock is the Branch as its timer knows it.
type branchClock Branch

// Expire is the end of what the branch had time for.
func (c *branchClock) Expire() {
	b := (*Branch)(c)
	r := b.Of
	r.mu.Lock()
	var wake bool
	var fresh task
	if !b.ended && b.expired == 0 && b.client != nil { // between two tries there is nothing to time
		if left := time.Duration(b.deadline - r.srv.txs.Now()); left > 0 {
			r.srv.txs.SetTimer(&b.timer, left)
		} else {
			wake, fresh = b.timeout()
		}
	}
	r.mu.Unlock()
	r.proceed(wake, fresh)
}

// timeout ends the branch for its own lack of time. Called with r.mu held.
func (b *Branch) timeout() (wake bool, fresh task) {
	if b.Of.Method == sip.INVITE {
		b.client.Cancel("")
		if b.provisional {
			b.expired = 408 // §16.8: the CANCEL goes out, its 487 ends the branch
			return false, nil
		}
	}
	b.Of.srv.trs.Report(b.Remote, false)
	late := b.client
	if !b.ringOver() && b.again() {
		b.outrun(late)
		return b.fork.rouse(), nil
	}
	return b.deliver(b.Of.made(408, transaction.ErrTimeout))
}

// ringOver reports whether the target has had all the time it gets.
func (b *Branch) ringOver() bool {
	return b.Target.Ring > 0 && time.Duration(b.Of.srv.txs.Now()-b.started) >= b.Target.Ring
}

// expire is the end of the context of the whole Forward. Called with r.mu held; the fork settles afterwards.
func (b *Branch) expire(code int) {
	invite := b.Of.Method == sip.INVITE
	if b.client != nil && invite {
		b.client.Cancel("")
	}
	if b.client != nil && invite && b.provisional {
		b.expired = code
		return
	}
	b.end()
}

// deliver passes a response through the hooks, when there are any, to process. Called with r.mu held.
func (b *Branch) deliver(res *sip.Response) (wake bool, fresh task) {
	if len(b.Of.hung().response) > 0 {
		return b.Of.enqueue(b, res)
	}
	return b.process(res), nil
}

// proceed wakes the task, or starts a fresh one for hooks, from a goroutine that must not be held up. Called without r.mu.
func (r *Request) proceed(wake bool, fresh task) {
	if wake {
		go r.task.wake()
	}
	if fresh != nil {
		go fresh.start((*drainJob)(r))
	}
}

// process is §16.7 for one response of the branch, the hooks behind it. Called with r.mu held; it reports whether the task is to be woken.
func (b *Branch) process(res *sip.Response) (wake bool) {
	switch {
	case res.Code < 200:
		if res.Code != 100 && !b.ended && b.Of.Method == sip.INVITE { // RFC 4320 §4.1
			b.Of.provisional(res)
		}
		return b.fork.rouse() // a hook may have forked
	case res.Code < 300:
		return b.success(res)
	case b.ended:
		return false
	}
	return b.failure(res)
}

// success relays a 2xx: to an INVITE every one, however late; to others the first.
func (b *Branch) success(res *sip.Response) (wake bool) {
	r, f := b.Of, b.fork
	late := b.ended
	b.end()
	if r.Method != sip.INVITE {
		if late || r.sent != 0 {
			return f.settle()
		}
		r.report(r.tx.Respond(res))
	} else {
		r.relaySuccess(res)
	}
	if r.sent == 0 {
		r.sent, r.receipt, r.receiptAs = res.Code, res, markOf(res)
	}
	f.answered(res)
	if now := r.fork; now != nil && now != f { // an earlier Forward was answered after all
		now.answered(res)
	}
	return f.rouse()
}

// answered ends the fork with a 2xx.
func (f *fork) answered(res *sip.Response) {
	f.cancelBranches(`SIP;cause=200;text="Call completed elsewhere"`)
	if !f.done {
		f.done, f.result = true, res
	}
	f.slim()
}

// relaySuccess sends a 2xx to an INVITE upstream: through the transaction, or past it when it has ended or has given another final response (§16.7 step 5,
// RFC 6026 §8.7).
func (r *Request) relaySuccess(res *sip.Response) {
	if r.sent == 0 || r.sent/100 == 2 {
		if r.tx.Respond(res) == nil {
			return
		}
	}
	r.srv.reply(r.Request, r.Flow, res)
}

// failure keeps a final response other than 2xx, or goes on to the target's alternatives.
func (b *Branch) failure(res *sip.Response) (wake bool) {
	f := b.fork
	if res.Code == 503 && res.Cause == nil && b.overloaded() { // RFC 3263 §4.3
		b.Of.srv.trs.Report(b.Remote, false)
		return f.rouse()
	}
	b.end()
	if b.expired != 0 && (res.Code == 487 || res.Cause != nil) {
		res = b.Of.made(b.expired, transaction.ErrTimeout)
	}
	if res.Is(401, 407) {
		b.Of.noteChallenges(res)
	}
	switch {
	case b.tryElse(res):
	case b.forked && res.Code/100 == 3 && !res.Has("Contact"): // every contact is being followed (§16.7 step 4)
	default:
		f.consider(res)
	}
	if res.Code >= 600 {
		f.cancelBranches("SIP;cause=" + strconv.Itoa(res.Code))
	}
	return f.settle()
}

// tryElse opens the next alternative of the target where its failure says nothing about the callee.
func (b *Branch) tryElse(res *sip.Response) bool {
	if len(b.Target.Else) == 0 || b.Of.canceled {
		return false
	}
	silence := res.Code == 408 && res.Cause != nil && !b.provisional
	if !res.Is(430, 503) && !silence || res.Code == 503 && res.Cause == nil && b.Target.registered() {
		return false
	}
	if b.fork.narrow() { // hooks have forked with what the branch gave back
		b.Of.srv.count.overBranches.Add(1)
		return false
	}
	t := b.Target.Else[0]
	if t.Else == nil {
		t.Else = b.Target.Else[1:]
	}
	return b.fork.add(&t) != nil
}

// kept is a 2xx to an INVITE as the hooks left it, by the To tag it came with.
type kept struct {
	tag string
	res *sip.Response
}

// keep remembers a 2xx to an INVITE for its copies.
func (b *Branch) keep(tag string, res *sip.Response) {
	if b.Of.Method == sip.INVITE && res.IsSuccess() {
		b.kept = append(b.kept, kept{tag, res.Clone()})
	}
}

// keptCopy returns what was made of an earlier copy of a 2xx.
func (b *Branch) keptCopy(res *sip.Response) *sip.Response {
	for i := range b.kept {
		if res.IsSuccess() && b.kept[i].tag == res.ToTag() {
			return b.kept[i].res.Clone()
		}
	}
	return nil
}

// clientUser is the Branch as its client transaction knows it.
type clientUser Branch

// Response receives a response on the goroutine that read it.
func (u *clientUser) Response(_ *transaction.Client, res *sip.Response, f transport.Flow) {
	b := (*Branch)(u)
	r := b.Of
	if res.Code == 100 { // hop by hop: it goes no further, and no hook wants it
		r.mu.Lock()
		b.heard(100)
		r.mu.Unlock()
		return
	}
	res.PopVia()
	if _, err := res.Via(); err != nil {
		r.srv.count.strayResponses.Add(1) // nobody above us: not an answer to what we sent
		return
	}
	var wake bool
	var fresh task
	r.mu.Lock()
	if res.Code < 200 {
		b.heard(res.Code)
	}
	switch kept := b.keptCopy(res); {
	case kept != nil:
		r.relaySuccess(kept)
	case len(r.hung().response) > 0:
		wake, fresh = r.enqueue(b, res)
	default:
		wake = b.process(res)
	}
	task := r.task
	r.mu.Unlock()
	if wake {
		task.wake()
	}
	if fresh != nil {
		fresh.start((*drainJob)(r))
	}
}

// Ended hears that no final response will come: the next address, or the end of the branch.
func (u *clientUser) Ended(_ *transaction.Client, err error) {
	b := (*Branch)(u)
	r := b.Of
	var wake bool
	var fresh task
	r.mu.Lock()
	if !b.ended {
		r.srv.trs.Report(b.Remote, false)
		if b.again() {
			wake = b.fork.rouse()
		} else {
			wake, fresh = b.deliver(b.verdict(err))
		}
	}
	r.mu.Unlock()
	r.proceed(wake, fresh)
}

// again queues the branch for its next address, when there is one and the answer is still wanted. Called with r.mu held.
func (b *Branch) again() bool {
	if b.Try+1 >= len(b.addrs) || b.fork.over || b.expired != 0 || b.provisional {
		return false
	}
	b.client = nil
	b.Of.srv.txs.StopTimer(&b.timer)
	b.Try++
	b.step = stepDress
	b.fork.todo = append(b.fork.todo, b)
	return true
}

// overloaded is again for a server that refuses with 503, whatever 1xx it sent before. Where hooks saw the 503 the branch has given back its part of the
// breadth, and what they left of it is shared anew. Called with r.mu held.
func (b *Branch) overloaded() bool {
	if b.share == 0 && b.fork.narrow() {
		return false
	}
	heard := b.provisional
	b.provisional = false
	if b.again() {
		b.shared = b.share > 0
		return true
	}
	b.provisional = heard
	return false
}

// verdict is the response that stands for a failure to get one. Called with r.mu held.
func (b *Branch) verdict(err error) *sip.Response {
	code := 503
	switch {
	case b.Of.canceled:
		code = 487
	case errors.Is(err, transaction.ErrTimeout):
		code = 408
	}
	return b.Of.made(code, err)
}
