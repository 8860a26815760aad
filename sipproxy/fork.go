package sipproxy

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
)

// A fork is the response context (§16) of one Forward. Its request's mu guards it.
type fork struct {
	r        *Request
	branches []*Branch
	todo     []*Branch // to be sent, or sent to their next address
	at       *Branch   // of those, the one that wants something of the task
	open     int       // branches without a final response
	expired  int       // code that replaces the answers to our own CANCEL; 0: none
	full     bool      // a target did not fit the limit on branches
	over     bool      // no new branches: 2xx, 6xx, cancelled or out of time
	done     bool
	best     *sip.Response
	result   *sip.Response

	// Most forks have one branch: it lies here, with the places for it in the lists.
	first         Branch
	firstBranches [1]*Branch
	firstTodo     [1]*Branch
}

// Forward sends the request to every target at once and waits for the best final response
// (§16.7); without a target it follows Route, else the Request-URI. 1xx and 2xx responses have gone upstream when it
// returns, others have not. Once the request is answered with a 2xx it returns that. A deadline of ctx bounds the wait: Forward then returns 408. Once the caller has
// cancelled it returns 487 at once. It returns nil for an ACK and in stateless mode, where only the first target counts.
func (r *Request) Forward(ctx context.Context, targets ...Target) *sip.Response {
	r.onTask("Forward")
	if r.isOver() {
		return r.tooLate()
	}
	if r.tx == nil {
		return r.forwardStateless(ctx, targets)
	}
	f := new(fork)
	f.r = r
	if err := ctx.Err(); err != nil {
		return r.outOfTime(ctx)
	}
	if ctx != (*requestContext)(r) && ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { f.contextEnded(ctx) })()
	}
	for i := range targets {
		f.add(&targets[i])
	}
	r.task.outside((*forkJob)(f))
	r.mu.Lock() // not deferred: a hook that panics unwinds with the lock released
	f.wait()
	r.fork = nil
	res := f.result
	r.mu.Unlock()
	return res
}

// isOver reports whether the handler has returned: there is no task left to wait on.
func (r *Request) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.returned
}

// tooLate answers a Forward that comes after the handler has returned.
func (r *Request) tooLate() *sip.Response {
	r.srv.log().Error("Forward after the handler has returned", slog.String("method", string(r.Method)), slog.String("call-id", r.CallID()))
	if r.tx == nil {
		return nil
	}
	return r.made(487, ErrDone)
}

// forkJob begins a fork whose branches are made, and goes on as stepJob does.
type forkJob fork

func (j *forkJob) run() (park bool) {
	f := (*fork)(j)
	f.begin()
	return f.proceed()
}

// begin gives refusals and the 100.
func (f *fork) begin() {
	r := f.r
	refuse := r.refusal(len(f.branches))
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.receipt != nil: // a branch of an earlier Forward was answered late
		f.done, f.result = true, r.receipt
		return
	case refuse != nil:
		f.done, f.result = true, refuse
		return
	}
	if r.Method == sip.INVITE {
		r.sendTrying()
	}
	r.fork = f
	switch {
	case r.canceled:
		f.cancel("")
	case len(f.branches) == 0 && !f.full:
		f.add(&Target{})
	}
	if f.open == 0 {
		f.settle() // no branch fits the limit
	}
}

// wait does what needs the task until the fork is done. Called on the task with r.mu held.
func (f *fork) wait() {
	r := f.r
	for {
		switch b := f.at; {
		case b != nil:
			r.mu.Unlock()
			b.consult()
			r.task.outside((*stepJob)(f))
			r.mu.Lock()
		case len(r.hung().queue) > 0:
			r.runHook()
		case f.done:
			return
		default:
			r.mu.Unlock()
			r.task.outside((*stepJob)(f))
			r.mu.Lock()
		}
	}
}

// stepJob sends what there is to send.
type stepJob fork

func (j *stepJob) run() (park bool) { return (*fork)(j).proceed() }

// proceed sends the branches that are to be sent, until something needs the task. It reports whether that has to wait for an answer first.
func (f *fork) proceed() (park bool) {
	r := f.r
	r.mu.Lock() // not deferred: what a branch does takes it, too
	for f.at != nil || len(r.hung().queue) == 0 && !f.done {
		b := f.at
		switch {
		case b != nil:
			f.at = nil
		case len(f.todo) > 0:
			b = f.todo[0]
			f.todo = f.todo[1:]
		default:
			r.waiting = true
			if _, ok := r.task.(*inlineTask); ok && r.woken == nil {
				r.woken = make(chan struct{}, 1) // before anybody can wake it
			}
			r.mu.Unlock()
			return true
		}
		r.mu.Unlock()
		(*tryJob)(b).run()
		r.mu.Lock()
		if b.wants != wantNothing {
			f.at = b
			break
		}
	}
	r.mu.Unlock()
	return false
}

// add makes a branch of a target, unless the fork takes no more. Called with r.mu held.
func (f *fork) add(t *Target) *Branch {
	if f.over || f.done {
		return nil
	}
	if f.r.branches >= f.r.srv.limits.Branches {
		f.full = true
		f.r.srv.count.overBranches.Add(1)
		return nil
	}
	b := &f.first
	if f.branches == nil {
		f.branches, f.todo = f.firstBranches[:0], f.firstTodo[:0]
	} else {
		b = new(Branch) // not a literal: that would pass over the stack of a handler that waits
	}
	b.Target = *t
	b.Of, b.ID, b.fork = f.r, f.r.branches, f
	f.r.branches++
	f.branches = append(f.branches, b)
	f.todo = append(f.todo, b)
	f.open++
	return b
}

// settle ends the fork when no branch is left; it reports whether the task is to be woken. Called with r.mu held.
func (f *fork) settle() (wake bool) {
	if !f.done && f.open == 0 {
		f.done = true
		f.result = f.final()
	}
	return f.rouse()
}

// rouse reports whether the task waits and now has something to do; the caller then wakes it once it has let go of r.mu.
func (f *fork) rouse() bool {
	if !f.r.waiting || !f.done && len(f.todo) == 0 {
		return false
	}
	f.r.waiting = false
	return true
}

// final is the result of a fork without a 2xx.
func (f *fork) final() *sip.Response {
	switch {
	case f.best != nil:
		return f.best
	case f.r.canceled:
		return f.r.made(487, ErrCanceled)
	case f.expired != 0:
		return f.r.made(f.expired, transaction.ErrTimeout)
	}
	return f.r.made(500, errBranches)
}

var errBranches = errors.New("sipproxy: no branch, the limit is reached")

// made is a response of the engine's own.
func (r *Request) made(code int, cause error) *sip.Response {
	res := r.srv.answer(r.Request, code, "")
	res.Cause = cause
	return res
}

// consider keeps the better of res and the best so far (§16.7 step 6).
func (f *fork) consider(res *sip.Response) {
	if f.best == nil || rank(res) < rank(f.best) {
		f.best = res
	}
}

// rank orders final responses, the best first: 6xx, then the lowest class; within 4xx those that tell the caller how to do better,
// and what this proxy made up last in its class.
func rank(res *sip.Response) int {
	class := res.Code / 100
	if class == 6 {
		return 0
	}
	n := class * 10
	switch {
	case res.Cause != nil || res.Code == 503:
		n += 9
	case res.Is(401, 407, 415, 420, 484):
	default:
		n += 5
	}
	return n
}

// cancelBranches ends what is still open: branches not sent yet vanish, others of an INVITE get a CANCEL once they have answered (§9.1).
// Called with r.mu held.
func (f *fork) cancelBranches(reason string) {
	f.over = true
	for _, b := range f.branches {
		switch {
		case b.ended:
		case b.client == nil:
			b.end()
		case f.r.Method == sip.INVITE:
			b.client.Cancel(reason)
		}
	}
	f.todo = nil
}

// cancel is the caller's CANCEL. Called with r.mu held.
func (f *fork) cancel(reason string) (wake bool) {
	f.cancelBranches(reason)
	return f.settle()
}

// contextEnded is the end of a context given to Forward: a deadline is the ring time-out, anything else acts as a CANCEL.
func (f *fork) contextEnded(ctx context.Context) {
	r := f.r
	r.mu.Lock()
	wake := false
	if !f.done && !r.canceled {
		wake = f.expire(contextCode(ctx))
	}
	r.mu.Unlock()
	if wake {
		go r.task.wake()
	}
}

// contextCode is the final response that the end of ctx means.
func contextCode(ctx context.Context) int {
	var code Code
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return 408
	case errors.As(context.Cause(ctx), &code) && code >= 300 && code <= 699:
		return int(code)
	}
	return 487
}

// outOfTime answers a Forward whose context is over before it begins.
func (r *Request) outOfTime(ctx context.Context) *sip.Response {
	r.mu.Lock()
	canceled, cause := r.canceled, r.cause
	r.mu.Unlock()
	if canceled {
		return r.made(487, cause)
	}
	return r.made(contextCode(ctx), context.Cause(ctx))
}

// expire ends every branch: now where nothing has been heard, by CANCEL otherwise. Called with r.mu held.
func (f *fork) expire(code int) (wake bool) {
	f.over, f.expired = true, code
	f.todo = nil
	for _, b := range f.branches {
		if !b.ended {
			b.expire(code)
		}
	}
	return f.settle()
}
