package main

import (
	"context"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// failover is stateful; when the gateway fails, refuses with 408, 500 or 503, or stays silent, the next one is tried, and its answer stands.
func failover(c config) sipproxy.Handler {
	pick := c.picker()
	chain := append(sipproxy.Chain{recordroute.Middleware}, c.guard()...)
	return chain.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		i := pick(r)
		gateway, other := c.gateways[i], c.gateways[(i+1)%len(c.gateways)]
		res := r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(gateway), Trying: c.trying})
		if res.Is(408, 500, 503) && other != gateway {
			res = r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(other), Trying: c.trying})
		}
		return res
	})
}
