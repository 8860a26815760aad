package sipproxy

import (
	"context"

	"github.com/sipkit/sipkit/sip"
)

// A Handler answers a SIP request. It runs once per transaction: copies of the
// request are absorbed before it. It may wait in Forward, and keeps its state in
// local variables. It returns the final response to send, or nil when nothing can be
// sent (ACK, stateless mode), or NoReply to stay silent on purpose. ctx ends when the
// caller cancels.
//
// Handlers must not lock their goroutine to a thread across Forward or Block.
type Handler interface {
	ServeSIP(ctx context.Context, r *Request) *sip.Response
}

// A HandlerFunc is a function used as a Handler.
type HandlerFunc func(ctx context.Context, r *Request) *sip.Response

// ServeSIP calls f.
func (f HandlerFunc) ServeSIP(ctx context.Context, r *Request) *sip.Response { return f(ctx, r) }

// A Middleware wraps a handler: what it does before calling next is the request's way in,
// what it does after is the final response's way out.
type Middleware func(next Handler) Handler

// A Chain is a list of middlewares, the outermost first.
type Chain []Middleware

// Then puts the chain in front of h.
func (c Chain) Then(h Handler) Handler {
	for i := len(c) - 1; i >= 0; i-- {
		h = c[i](h)
	}
	return h
}

// ThenFunc puts the chain in front of f.
func (c Chain) ThenFunc(f HandlerFunc) Handler { return c.Then(f) }

// NoReply is returned by a handler to stay silent on purpose, towards scanners for
// instance. Copies of the request are absorbed for 64*T1.
var NoReply = &sip.Response{Reason: "no reply"}
