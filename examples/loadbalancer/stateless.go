package main

import (
	"context"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// stateless forwards each message by itself and keeps nothing (Server.Accept says Stateless): the fastest mode, without failover.
// What follows in the call goes past it.
func stateless(c config) sipproxy.Handler {
	pick := c.picker()
	return c.guard().ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		r.DropRoutes() // a caller does not choose where we send
		gateway := c.gateways[pick(r)]
		return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(gateway)})
	})
}
