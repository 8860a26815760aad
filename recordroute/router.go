package recordroute

import (
	"context"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// A Policy says what becomes of requests that nothing vouches for.
type Policy uint8

const (
	Refuse Policy = iota // 403 Forbidden; an ACK is dropped
	Follow               // routed all the same
	Strip                // foreign preloaded Routes only: removed, and the request goes on without them
)

// A Router keeps the proxy on the path of dialogs. Its zero value works; Middleware is that of the zero value.
type Router struct {
	// Local answers requests in a dialog with this server itself: presence, voicemail, a conference. nil: 404 Not Here.
	Local sipproxy.Handler

	// Unsigned is for requests in a dialog whose Route of ours carries no signature. A To tag costs nothing to write: with Follow the proxy relays
	// whatever a stranger asks it to. A wrong signature is always refused.
	Unsigned Policy

	// Foreign is for requests whose topmost Route is not ours: without a dialog the preloaded Routes of a stranger.
	Foreign Policy

	// Methods are those that get a Record-Route outside a dialog; nil: INVITE, SUBSCRIBE, REFER, NOTIFY.
	Methods []sip.Method
	// InDialog adds it to requests within a dialog too; it changes no route set, but phones that restarted learn theirs from it.
	InDialog bool

	LrOn    bool // write lr=on for peers that do not understand a bare lr
	FromTag bool // write ftag=, the tag of the caller, for peers and scripts that read it
	// Params, when set, gives further parameters (";nat=yes") for the Record-Route of a branch. They are covered by the signature.
	Params func(*sipproxy.Branch) sip.Params

	// User, when set, gives the user part of our Record-Route towards the sender of a request (in) or its receiver: a token for the flow to that side
	// (RFC 5626 §5.3.2; nat.User). Where a side has one, both sides get a Record-Route of their own.
	User func(b *sipproxy.Branch, in bool) string
	// Flow, when set, reads it back from the last of our own Routes, the one towards the receiver: the flow to send on, none to go by Route and
	// Request-URI, or the code that refuses the request (nat.Flow).
	Flow func(r *sipproxy.Request, own sip.URI) (f transport.Flow, code int)
}

// Middleware routes requests within dialogs and inserts Record-Route into those that form one, by the defaults of Router.
func Middleware(next sipproxy.Handler) sipproxy.Handler { return Router{}.Middleware(next) }

// Middleware is a sipproxy.Middleware.
func (rt Router) Middleware(next sipproxy.Handler) sipproxy.Handler {
	insert := rt.insert
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		// A CANCEL gets here when nothing matches it. Broken phones put a To tag into that of an initial INVITE, which has no Route of ours.
		if r.InDialog() && (r.Method != sip.CANCEL || len(r.OwnRoutes()) > 0) {
			if rt.InDialog && rt.records(r.Method) {
				r.OnSend(insert)
			}
			return rt.withinDialog(ctx, r)
		}
		if len(r.Routes) > 0 {
			switch rt.Foreign {
			case Refuse:
				return r.Reply(403)
			case Strip:
				r.DropRoutes()
			}
		}
		if rt.records(r.Method) {
			r.OnSend(insert)
		}
		f, code := rt.flow(r)
		switch {
		case code != 0:
			return r.Reply(code)
		case len(r.Routes) > 0 || !f.IsZero():
			return onward(ctx, r, f)
		}
		return next.ServeSIP(ctx, r)
	})
}

func (rt *Router) records(m sip.Method) bool {
	if rt.Methods == nil {
		return m == sip.INVITE || m == sip.SUBSCRIBE || m == sip.REFER || m == sip.NOTIFY
	}
	for _, x := range rt.Methods {
		if x == m {
			return true
		}
	}
	return false
}

// withinDialog is loose and strict routing (§16.4, §16.6 step 6, §16.12); the engine has taken our own Routes off.
func (rt *Router) withinDialog(ctx context.Context, r *sipproxy.Request) *sip.Response {
	local := len(r.Routes) == 0 && r.Server().IsLocal(r.URI)
	switch trust := vouched(r); {
	case len(r.OwnRoutes()) == 0 && len(r.Routes) > 0:
		if rt.Foreign != Follow {
			return r.Reply(403)
		}
	case local:
		return rt.local(ctx, r)
	case len(r.OwnRoutes()) == 0:
		return r.Reply(404)
	case trust == forged || trust == unsigned && rt.Unsigned != Follow:
		return r.Reply(403)
	}
	f, code := rt.flow(r)
	if code != 0 {
		return r.Reply(code)
	}
	return onward(ctx, r, f)
}

// onward forwards on a flow, or as Route and Request-URI say. A Target of its own takes room on the stack that is held while a call rings.
//
//go:noinline
func onward(ctx context.Context, r *sipproxy.Request, f transport.Flow) *sip.Response {
	return r.Forward(ctx, sipproxy.Target{Flow: f})
}

// flow is what the last of our own Routes says of the way on.
func (rt *Router) flow(r *sipproxy.Request) (f transport.Flow, code int) {
	own := r.OwnRoutes()
	if rt.Flow == nil || len(own) == 0 {
		return f, 0
	}
	return rt.Flow(r, own[len(own)-1].URI)
}

func (rt *Router) local(ctx context.Context, r *sipproxy.Request) *sip.Response {
	if rt.Local != nil {
		return rt.Local.ServeSIP(ctx, r)
	}
	return r.Reply(404)
}
