package nat

import (
	"context"
	"strconv"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// Path puts an edge proxy into the Path of the REGISTERs it forwards (RFC 3327), with a token for the flow to the phone in the user part, and
// ob where the phone is its first hop (RFC 5626 §5.1). Requests that come back by it are routed by recordroute.Router with Flow. It is a
// sipproxy.Middleware.
func Path(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if r.Method == sip.REGISTER {
			r.OnSend(insertPath)
		}
		return next.ServeSIP(ctx, r)
	})
}

func insertPath(b *sipproxy.Branch) {
	first := firstHop(b.Of)
	host, port := b.Flow.SentBy()
	u := sip.URI{Scheme: "sip", Host: host, Port: port}
	if p := b.Flow.Proto(); p != transport.UDP {
		u.Params = sip.Params(";transport=" + p.String())
	}
	if first {
		u.User = Token(b.Of.Server(), b.Of.Flow)
	}
	u.Params += ";lr"
	if first {
		u.Params += ";ob"
	}
	b.Request.Prepend("Path", "<"+u.String()+">")
	if !b.Request.HasToken("Supported", "path") {
		b.Request.Add("Supported", "path") // §5.2: the registrar may refuse a Path the phone has not heard of
	}
}

// Keep answers clients that offer to send keepalives (RFC 6223): ";keep" in their Via comes back as ";keep=30" (seconds), 120 over connections.
// It is a sipproxy.Middleware.
func Keep(next sipproxy.Handler) sipproxy.Handler {
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		via, err := r.Via()
		if v, asked := via.Params.Get("keep"); err != nil || !asked || v != "" {
			return next.ServeSIP(ctx, r)
		}
		r.OnResponse(func(_ *sipproxy.Branch, res *sip.Response) { keep(r, res) })
		res := next.ServeSIP(ctx, r)
		if res != nil && res != sipproxy.NoReply {
			keep(r, res)
		}
		return res
	})
}

func keep(r *sipproxy.Request, res *sip.Response) {
	via, err := res.Via()
	if v, asked := via.Params.Get("keep"); err != nil || !asked || v != "" {
		return
	}
	seconds := 30
	if r.Source.Proto.Reliable() {
		seconds = 120
	}
	via.Params = via.Params.With("keep", strconv.Itoa(seconds))
	res.ReplaceFirst("Via", via.String())
}
