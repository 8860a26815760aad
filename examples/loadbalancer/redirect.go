package main

import (
	"context"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// redirect tells the caller where to go and is out of the call (§8.3).
func redirect(c config) sipproxy.Handler {
	pick := c.picker()
	return c.guard().ThenFunc(func(_ context.Context, r *sipproxy.Request) *sip.Response {
		switch {
		case r.Method == sip.ACK:
			return nil
		case r.Method == sip.CANCEL: // with a Route, and for nothing that we know
			return r.Reply(481)
		case r.InDialog():
			return r.Reply(404)
		case !r.URI.IsSIP():
			return r.Reply(416)
		}
		contact := r.URI.WithHostPort(c.gateways[pick(r)])
		if contact.Equal(r.Request.URI) { // §8.3: it would only come back
			return r.Reply(404)
		}
		res := r.Reply(302)
		res.Set("Contact", "<"+contact.String()+">")
		return res
	})
}
