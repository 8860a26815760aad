package sipproxy

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
)

// lateTrying is how long the handler of an INVITE may run before a 100 goes out all the same (§17.2.1).
const lateTrying = 200 * time.Millisecond

// run starts the handler.
func (r *Request) run() {
	r.task = r.srv.handlerTask(r)
	if r.srv.Runner == Goroutines {
		r.armTrying() // before the handler runs beside us
	}
	r.task.start((*serveJob)(r))
	if r.srv.Runner != Goroutines && r.tx != nil {
		r.mu.Lock()
		if !r.returned && !r.trying && r.late.To == nil {
			r.armTrying() // the handler waits
		}
		r.mu.Unlock()
	}
}

// armTrying sets the timer for a 100 where one may be due.
func (r *Request) armTrying() {
	r.late.To = (*tryingClock)(r)
	switch {
	case r.tx == nil:
	case r.Method == sip.INVITE:
		r.srv.txs.SetTimer(&r.late, lateTrying)
	default:
		// RFC 4320 §4.1: not before Timer E of the client has reached T2.
		r.srv.txs.SetTimer(&r.late, 7*r.srv.t1())
	}
}

// A tryingClock is the Request as that timer knows it.
type tryingClock Request

// Expire sends the 100.
func (c *tryingClock) Expire() {
	r := (*Request)(c)
	r.mu.Lock()
	r.sendTrying()
	r.mu.Unlock()
}

// serveJob is the work of the request's task: the handler and its final response.
type serveJob Request

func (j *serveJob) run() bool {
	r := (*Request)(j)
	r.returns = r.protect()
	r.task.last((*finishJob)(r))
	return false
}

// finishJob sends what the handler returned, and leaves the hooks that are still to run to a task of their own.
type finishJob Request

func (j *finishJob) run() bool {
	r := (*Request)(j)
	res := r.returns
	r.returns = nil
	if fresh := r.finish(res); fresh != nil {
		fresh.start((*drainJob)(r))
	}
	return false
}

// protect runs the handler; a panic is a 500, and so is runtime.Goexit.
func (r *Request) protect() (res *sip.Response) {
	normal := false
	defer func() {
		if normal {
			return
		}
		switch v := recover().(type) {
		case nil: // Goexit: this goroutine ends when the deferred calls are done
			if fresh := r.finish(r.Reply(500)); fresh != nil {
				go fresh.start((*drainJob)(r))
			}
		case stopped:
			res = r.Reply(503)
		default:
			r.srv.panicked(r, v)
			res = r.Reply(500)
		}
	}()
	res = r.srv.Handler.ServeSIP((*requestContext)(r), r)
	normal = true
	return res
}

// panicked counts and logs a panic of user code.
func (s *Server) panicked(r *Request, v any) {
	s.count.panics.Add(1)
	s.log().Error("handler panicked", slog.String("method", string(r.Method)), slog.String("call-id", r.CallID()),
		slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
}

// finish sends what the handler returned and lets the request go. It returns a task to be started for the hooks of responses that nobody waited for.
func (r *Request) finish(res *sip.Response) (fresh task) {
	r.mu.Lock()
	if r.returned {
		r.mu.Unlock()
		return nil
	}
	r.returned = true
	if r.fork != nil { // the handler panicked in it
		r.fork.cancelBranches("")
		r.fork.done = true
		r.fork = nil
	}
	r.final(res)
	if len(r.hung().queue) > 0 {
		r.draining = true
		r.task = r.srv.newTask()
		fresh = r.task
	}
	afters := r.endContext(ErrDone)
	r.mu.Unlock()
	if r.tx != nil {
		r.srv.txs.StopTimer(&r.late)
		r.srv.remove(r)
	}
	if afters != nil {
		runAfters(afters)
	}
	return fresh
}

// final sends the final response of the handler by contracts 1 and 2. Called with r.mu held.
func (r *Request) final(res *sip.Response) {
	if r.tx == nil {
		r.finalStateless(res)
		return
	}
	if r.sent != 0 {
		if res != r.receipt || markOf(res) != r.receiptAs {
			r.srv.log().Warn("handler returned another response than the one sent already", slog.String("call-id", r.CallID()), slog.Int("sent", r.sent))
		}
		return
	}
	switch {
	case res == NoReply:
		r.silence()
		return
	case res == nil || res.Code < 200 || res.Code > 699:
		r.srv.count.badReturns.Add(1)
		r.srv.log().Error("handler returned no final response", slog.String("method", string(r.Method)), slog.String("call-id", r.CallID()))
		res = r.Reply(500)
	case !r.owns(res):
		res = r.Reply(500)
	case res.Code == 408 && r.Method != sip.INVITE:
		r.silence() // RFC 4320 §4.2
		return
	case res.Code == 408 && r.canceled:
		res = r.Reply(487)
	case res.Code == 503 && res.Cause != sip.ErrLocal:
		// §16.7 step 6: what the next hop cannot do says nothing of this proxy.
		res = r.Reply(500)
	case res.Is(401, 407):
		r.mergeChallenges(res)
	}
	r.sent = res.Code
	if res.IsSuccess() && r.Method == sip.INVITE {
		r.report(r.tx.RespondReliably(res))
		return
	}
	r.report(r.tx.Respond(res))
	if r.Method == sip.INVITE {
		r.tx.SetUser((*refusedUser)(r.srv))
	}
}

// A mark tells whether a response was edited.
type mark struct {
	code     int
	revision uint64
}

func markOf(res *sip.Response) mark {
	if res == nil {
		return mark{}
	}
	return mark{res.Code, res.Revision()}
}

func (r *Request) report(err error) {
	if err != nil {
		r.srv.count.unsent.Add(1)
	}
}

// silence leaves the request without a response; the transaction stays to absorb copies. Called with r.mu held.
func (r *Request) silence() {
	r.sent = -1
	r.srv.count.silenced.Add(1)
	r.tx.Silence()
}

// owns reports whether res answers this request; that of another transaction (of Server.Request, or kept from an earlier call) would
// tell the caller nothing.
func (r *Request) owns(res *sip.Response) bool {
	if res.Answers(r.Request) {
		return true
	}
	r.srv.count.badReturns.Add(1)
	r.srv.log().Error("handler returned a response to another request", slog.String("method", string(r.Method)), slog.String("call-id", r.CallID()))
	return false
}

// finalStateless answers from a handler in stateless mode: nothing is kept, and nothing is said to an ACK.
func (r *Request) finalStateless(res *sip.Response) {
	if res == nil || res == NoReply || r.Method == sip.ACK || res.Code < 200 {
		return
	}
	switch {
	case !r.owns(res):
		res = r.Reply(500)
	case res.Code == 503 && res.Cause != sip.ErrLocal: // as with state
		res = r.Reply(500)
	}
	r.srv.reply(r.Request, r.Flow, res)
}

// mergeChallenges puts every challenge any branch came back with into res (§16.7 step 7). Called with r.mu held.
func (r *Request) mergeChallenges(res *sip.Response) {
	if len(r.challenge) == 0 {
		return
	}
	r.noteChallenges(res) // of the handler's own
	res.Del("WWW-Authenticate")
	res.Del("Proxy-Authenticate")
	for i := 0; i < len(r.challenge); i += 2 {
		res.Add(r.challenge[i], r.challenge[i+1])
	}
}

// noteChallenges remembers the challenges of a 401 or 407. Called with r.mu held.
func (r *Request) noteChallenges(res *sip.Response) {
	for _, name := range [2]string{"WWW-Authenticate", "Proxy-Authenticate"} {
	values:
		for v := range res.All(name) {
			for i := 1; i < len(r.challenge); i += 2 {
				if r.challenge[i] == v {
					continue values
				}
			}
			r.challenge = append(r.challenge, name, v)
		}
	}
}

// cancel is the caller's CANCEL (§16.10), or the end of the server.
func (r *Request) cancel(cause error, reason string) {
	r.mu.Lock()
	if r.returned || r.canceled {
		r.mu.Unlock()
		return
	}
	wake, afters := r.giveUp(cause, reason)
	r.mu.Unlock()
	runAfters(afters)
	if wake {
		r.task.wake()
	}
}

// giveUp makes the request a cancelled one. Called with r.mu held.
func (r *Request) giveUp(cause error, reason string) (wake bool, afters []*after) {
	r.canceled = true
	if r.fork != nil {
		wake = r.fork.cancel(reason)
	}
	return wake, r.endContext(cause)
}

// Cancel ends an INVITE as its caller's CANCEL does (§16.10): the branches are cancelled, with reason, when not empty, as the value of their Reason field
// (RFC 3326), the handler's context ends, and Forward returns 487, now or when those that ring have answered the CANCEL. The caller gets what the
// handler returns. A 2xx that crosses the CANCEL goes upstream all the same. It reports false, and does nothing, when there is nothing to end: the request is
// no INVITE or has no state, a final response has gone upstream, the handler has returned, or the caller was first. It does not wait, and
// may be called on any goroutine.
func (r *Request) Cancel(reason string) bool {
	if r.Method != sip.INVITE || r.tx == nil {
		return false
	}
	r.mu.Lock()
	if r.returned || r.canceled || r.sent != 0 {
		r.mu.Unlock()
		return false
	}
	wake, afters := r.giveUp(ErrCanceled, reason)
	r.mu.Unlock()
	runAfters(afters)
	r.proceed(wake, nil)
	return true
}

// serverUser is the Request as its server transaction knows it.
type serverUser Request

// Unsent counts responses that could not be delivered, and final ones that nobody acknowledged.
func (u *serverUser) Unsent(_ *transaction.Server, err error) {
	r := (*Request)(u)
	r.srv.count.unsent.Add(1)
	r.srv.log().Debug("response not delivered", slog.String("call-id", r.CallID()), slog.Any("error", err))
}

// A refusedUser is the Server as the transaction of an INVITE knows it that waits for the ACK of its refusal: it takes the place of the Request, which a caller
// who sends none would else keep in memory for another 32 s.
type refusedUser Server

// Unsent counts final responses that nobody acknowledged.
func (u *refusedUser) Unsent(t *transaction.Server, err error) {
	s := (*Server)(u)
	s.count.unsent.Add(1)
	s.log().Debug("final response not acknowledged", slog.Int("code", t.Final()), slog.String("caller", t.Flow().Remote().String()), slog.Any("error", err))
}

// abort makes a waiting Forward return, when the server closes and can wait no longer.
func (r *Request) abort() {
	r.mu.Lock()
	wake := false
	if f := r.fork; f != nil && !f.done {
		f.cancelBranches("")
		f.done, f.result = true, r.made(503, sip.ErrLocal)
		wake = f.rouse()
	}
	r.mu.Unlock()
	if wake {
		go r.task.wake()
	}
}
