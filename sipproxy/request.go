package sipproxy

import (
	"context"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A Request is a received request and the transaction it opened. The message is never
// modified; changes go to branches. URI and Routes are the effective values after the
// engine's route preprocessing (§16.4); Request.Request is the raw message.
type Request struct {
	*sip.Request
	URI    sip.URI        // effective Request-URI
	Routes []sip.NameAddr // Route values left after our own were popped
	Source transport.Addr // where the packet came from, whatever Via says
	Local  transport.Addr // the socket it arrived on
	Flow   transport.Flow
}

func (r *Request) Server() *Server { panic("stub") }

// OwnRoutes are the Route values of ours that were popped, topmost first (two for a double Record-Route).
func (r *Request) OwnRoutes() []sip.NameAddr { panic("stub") }

// InDialog reports whether To has a tag.
func (r *Request) InDialog() bool                                               { panic("stub") }
func (r *Request) Reply(code int) *sip.Response                                 { panic("stub") }
func (r *Request) Fail(ctx context.Context, err error) *sip.Response            { panic("stub") }
func (r *Request) Send(provisional *sip.Response)                               { panic("stub") }
func (r *Request) Forward(ctx context.Context, t ...Target) *sip.Response       { panic("stub") }
func (r *Request) ForwardInTurn(ctx context.Context, t ...Target) *sip.Response { panic("stub") }
func (r *Request) OnBranch(f func(*Branch))                                     { panic("stub") }
func (r *Request) OnSend(f func(*Branch))                                       { panic("stub") }
func (r *Request) OnResponse(f func(*Branch, *sip.Response))                    { panic("stub") }

// Fork adds branches to the fork b belongs to: called from OnResponse, before the response counts (3xx recursion, try C while B rings).
func (b *Branch) Fork(t ...Target) { panic("stub") }
