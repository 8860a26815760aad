package sipproxy

import (
	"context"
	"log/slog"
	"sync"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// A Request is a received request and the transaction it opened. The message is never
// modified; changes go to branches. URI and Routes are the effective values after the
// engine's route preprocessing (§16.4); Request.Request is the raw message. Its methods, but Cancel, are called
// on the goroutine on which ServeSIP, or the hook, was called.
type Request struct {
	*sip.Request
	URI    sip.URI        // effective Request-URI
	Routes []sip.NameAddr // Route values left after our own were popped
	Source transport.Addr // where the packet came from, whatever Via says
	Local  transport.Addr // the socket it arrived on
	Flow   transport.Flow

	exchange
}

// exchange is the state of a request in the engine. mu guards what changes once the handler has started; sending and the transaction layer
// are called with it held, user code never is.
type exchange struct {
	srv  *Server
	tx   *transaction.Server // nil: stateless, or an ACK
	mode Mode
	own  []sip.NameAddr // our Route values, popped
	came int            // Route values it came with
	// strict: the Request-URI was our own Record-Route; a strict router put the real one last (§16.4).
	strict        bool
	routesDropped bool            // DropRoutes was called
	prefix        [prefixLen]byte // first part of the branches we make for it; zero until the first
	loop          uint32          // loop detection hash, 0 until asked for

	mu     sync.Mutex
	task   task
	woken  chan struct{} // of an inlineTask that waits
	gid    uint64        // of an inlineTask, when the server checks contract 14
	cause  error         // why the handler's context ended, nil while it lives
	done   chan struct{} // of that context, made on demand
	afters []*after

	waiting   bool // the task is parked in Forward or about to be
	returned  bool // the handler has returned
	draining  bool // after that: a task is running hooks
	canceled  bool
	trying    bool // a 1xx has gone upstream
	sent      int  // final code that has gone upstream
	receipt   *sip.Response
	receiptAs mark          // how it went upstream
	returns   *sip.Response // what the handler returned, on its way to finish
	fork      *fork         // the Forward in progress
	tries     int           // branch parameters made so far
	branches  int           // branch ids given so far
	spread    int32         // Max-Breadth given to branches in progress
	challenge []string      // challenges seen: name, value, name, value ...
	late      transaction.Timer

	hooks   *hooks
	contact *firstContact // nil until asked for

	prev, next *Request // the server's list of requests in progress
}

// Server returns the server that received the request.
func (r *Request) Server() *Server { return r.srv }

// OwnRoutes returns the Route values of ours that were popped, topmost first: two for a double Record-Route.
func (r *Request) OwnRoutes() []sip.NameAddr { return r.own }

// InDialog reports whether To has a tag.
func (r *Request) InDialog() bool { return r.ToTag() != "" }

// Contact is the first Contact value, parsed once however many ask for it; more tells whether others follow. The error is sip.ErrNoField when there is none.
// What it points to is read-only.
func (r *Request) Contact() (c *sip.NameAddr, more bool, err error) {
	if r.contact == nil {
		r.contact = new(firstContact)
		r.contact.more, r.contact.err = r.FirstContact(&r.contact.NameAddr)
	}
	return &r.contact.NameAddr, r.contact.more, r.contact.err
}

// firstContact is what Contact keeps.
type firstContact struct {
	sip.NameAddr
	err  error
	more bool
}

// Mode tells whether the request is treated with state.
func (r *Request) Mode() Mode { return r.mode }

// Reply builds a response with the standard reason phrase, our To tag (but in a 100) and no body (§8.2.6); it does not send it.
// It returns nil for an ACK, which is never answered.
func (r *Request) Reply(code int) *sip.Response {
	if r.Method == sip.ACK {
		return nil
	}
	return r.srv.answer(r.Request, code, "")
}

// Fail logs err and returns a 500.
func (r *Request) Fail(ctx context.Context, err error) *sip.Response {
	r.srv.log().LogAttrs(ctx, slog.LevelError, "request failed",
		slog.String("method", string(r.Method)), slog.String("call-id", r.CallID()), slog.Any("error", err))
	return r.Reply(500)
}

// Send sends a provisional response now, ahead of the final one that the handler returns. Others, and those that come
// after a final one, are ignored. A non-INVITE request has no use for them (RFC 4320): only INVITE gets them.
func (r *Request) Send(provisional *sip.Response) {
	r.onTask("Send")
	if provisional == nil || !provisional.IsProvisional() || r.Method != sip.INVITE {
		return
	}
	if !r.owns(provisional) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.provisional(provisional)
}

// OnBranch adds a hook that runs once per target, before the next hop is computed; it may edit everything of the branch.
func (r *Request) OnBranch(f func(*Branch)) {
	h := r.ownHooks()
	h.branch = append(h.branch, f)
}

// OnSend adds a hook that runs once per address tried, when transport, socket and flow are fixed. It adds header fields to Branch.Request.
func (r *Request) OnSend(f func(*Branch)) {
	h := r.ownHooks()
	h.send = append(h.send, f)
}

// OnResponse adds a hook that sees, and may edit, every response of every branch, those the engine made included, before it counts.
// The hook added last runs first.
func (r *Request) OnResponse(f func(*Branch, *sip.Response)) {
	h := r.ownHooks()
	r.mu.Lock() // responses are matched on other goroutines
	h.response = append(h.response, f)
	r.mu.Unlock()
}

func (r *Request) currentTask() task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.task
}

// provisional sends a 1xx upstream while that is possible. Called with r.mu held.
func (r *Request) provisional(res *sip.Response) {
	if r.tx == nil || r.sent != 0 {
		return
	}
	r.trying = true
	_ = r.tx.Respond(res) // the transaction may be over; then nobody waits for it
}

// sendTrying sends a 100 unless a 1xx has gone up already. Called with r.mu held.
func (r *Request) sendTrying() {
	if r.trying {
		return
	}
	if r.tx == nil || r.sent != 0 {
		return
	}
	r.trying = true
	_ = r.tx.Trying() // as in provisional
}

// DropRoutes forgets the Route values that are not ours: the branches go out without them (Kamailio: remove_hf("Route")).
func (r *Request) DropRoutes() {
	r.Routes = nil
	r.routesDropped = true
}
