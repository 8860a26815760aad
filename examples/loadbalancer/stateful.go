package main

import (
	"context"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// stateful forwards a call with a transaction, so copies of the INVITE meet the same gateway, and stays on the path of the whole call.
func stateful(c config) sipproxy.Handler {
	pick := c.picker()
	chain := append(sipproxy.Chain{recordroute.Middleware}, c.guard()...)
	return chain.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		gateway := c.gateways[pick(r)]
		return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(gateway)})
	})
}
