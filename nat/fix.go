package nat

import (
	"context"
	"sync/atomic"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// Fix writes into the Contact of phones behind a NAT where they really are, and reads it back: for farms with Kamailio nodes, and for peers that
// lose the Record-Route. A proxy on its own does better with tokens in Record-Route (User, Flow), which leave Contact alone; both together
// work, and the token comes first. It stands before recordroute in the chain. The zero value works; a Fix must not be copied after use.
//
// An alias is an order to send somewhere, and strangers write it as easily as we do. It is followed only within dialogs, by requests that came over our own
// Record-Route, and, when it carries no signature, only to where Screen allows.
type Fix struct {
	When   func(*sipproxy.Request) bool // which senders are behind a NAT; nil: Behind
	Param  string                       // "alias"
	Sign   bool                         // write aliassig= behind it; a signed alias is followed wherever it leads
	Screen *Screen                      // for what is not signed; nil: the zero Screen

	// Rewrite replaces host and port of Contact instead (Kamailio: fix_nated_contact), the last resort: the phone then receives requests
	// whose Request-URI it does not know.
	Rewrite bool

	added, followed, refused, gone atomic.Uint64
}

// FixStats are counters.
type FixStats struct {
	Added    uint64 // Contacts written, in requests and responses
	Followed uint64 // aliases read back
	Refused  uint64 // aliases that led where they must not: 403
	Gone     uint64 // aliases of connections that are closed: 430
}

// Stats returns the counters.
func (x *Fix) Stats() FixStats {
	return FixStats{x.added.Load(), x.followed.Load(), x.refused.Load(), x.gone.Load()}
}

// Middleware is a sipproxy.Middleware.
func (x *Fix) Middleware(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if r.Method == sip.REGISTER || r.Method == sip.CANCEL {
			return next.ServeSIP(ctx, r)
		}
		if code := x.follow(r); code != 0 {
			return r.Reply(code)
		}
		if r.Has("Contact") && firstHop(r) && x.behind(r) {
			r.OnBranch(func(b *sipproxy.Branch) { x.write(r.Server(), &b.Request.Header, r.Source) })
		}
		if r.Method != sip.ACK {
			r.OnResponse(x.response)
		}
		return next.ServeSIP(ctx, r)
	})
}

func (x *Fix) behind(r *sipproxy.Request) bool {
	if x.When != nil {
		return x.When(r)
	}
	return Behind(r)
}

func (x *Fix) param() string {
	if x.Param == "" {
		return "alias"
	}
	return x.Param
}

// response writes the alias into the Contact of a callee behind a NAT: one that was reached elsewhere than its Request-URI said, or whose
// Contact nobody else can reach.
func (x *Fix) response(b *sipproxy.Branch, res *sip.Response) {
	if res.Code == 100 || res.Code >= 300 || res.Cause != nil || len(b.Target.Path) > 0 || !b.Remote.AddrPort.IsValid() {
		return // the contacts of a 3xx are for the caller to try
	}
	if !b.Target.Flow.IsZero() || Callee(b)&Destination != 0 && DetectReply(b, res)&ContactPrivate != 0 {
		x.write(b.Of.Server(), &res.Header, b.Remote)
	}
}

// write edits the only Contact of a message.
func (x *Fix) write(s *sipproxy.Server, h *sip.Header, at transport.Addr) {
	for c, err := range h.Contacts() {
		if err != nil || c.Star || !c.URI.IsSIP() || c.URI.Params.Has(x.param()) || x.needless(c.URI, at) {
			return
		}
		if x.Rewrite {
			c.URI.Host, c.URI.Port = hostText(at.AddrPort.Addr()), at.AddrPort.Port()
			c.URI = c.URI.WithoutParam("maddr")
		} else {
			value := aliasValue(at)
			sig := ""
			if x.Sign {
				sig = s.Sign(aliasPurpose, value)
			}
			c.URI = addAlias(c.URI, x.param(), value, sig)
		}
		h.ReplaceFirst("Contact", c.String())
		x.added.Add(1)
		return
	}
}

const aliasPurpose = "contact-alias"

// needless: the Contact says already where the peer is.
func (x *Fix) needless(u sip.URI, at transport.Addr) bool {
	ip, ok := u.IP()
	return ok && ip.Unmap() == at.AddrPort.Addr().Unmap() && uriPort(&u) == at.AddrPort.Port() && uriProto(&u) == at.Proto
}

// follow takes an alias of ours off the Request-URI and sends the request there; it returns the code that refuses it.
func (x *Fix) follow(r *sipproxy.Request) (code int) {
	if !r.InDialog() || len(r.OwnRoutes()) == 0 || len(r.Routes) > 0 {
		return 0
	}
	u, at, value, sig, ok := cutAlias(r.URI, x.param())
	if !ok {
		return 0
	}
	if sig == "" || !r.Server().Verify(sig, aliasPurpose, value) {
		if !x.screen().Allows(r, at) {
			x.refused.Add(1)
			return 403
		}
	}
	flow, alive := r.Server().FlowTo(transport.Addr{}, at)
	if at.Proto.Reliable() && !alive {
		x.gone.Add(1)
		return 430 // nobody connects through a NAT
	}
	x.followed.Add(1)
	r.URI = u
	r.OnBranch(func(b *sipproxy.Branch) {
		switch {
		case !b.Target.Flow.IsZero() || !b.Target.Next.IsZero():
		case at.Proto.Reliable():
			b.Target.Flow = flow
		default:
			b.Target.Next = at
		}
	})
	return 0
}

var zeroScreen Screen

func (x *Fix) screen() *Screen {
	if x.Screen != nil {
		return x.Screen
	}
	return &zeroScreen
}
