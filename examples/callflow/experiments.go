package main

import (
	"context"
	"sync"
	"time"

	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/sipproxy/siptest"
)

// An experiment is a way to configure the proxy and something that the phones 308 and 309 do.
type experiment struct {
	name, title string
	chain       sipproxy.Chain
	mode        sipproxy.Mode
	play        func(t siptest.T, a, b *siptest.Phone)
}

// ringing is how long 309 lets it ring.
const ringing = 100 * time.Millisecond

var experiments = []experiment{
	{
		name:  "direct",
		title: "without Record-Route the proxy helps to find 309; ACK and BYE go past it",
		play: func(t siptest.T, a, b *siptest.Phone) {
			b.AnswerAfter(ringing)
			call := a.Call(t, "sip:309@"+a.Proxy)
			in := b.Incoming(t)
			in.ExpectAck()
			call.Bye()
			in.ExpectBye()
		},
	},
	{
		name:  "cancelled",
		title: "the caller gives up; all messages have the branch of the INVITE, hop by hop",
		play: func(t siptest.T, a, b *siptest.Phone) {
			b.Ring()
			call := a.Invite(t, "sip:309@"+a.Proxy)
			call.Expect(180)
			call.Cancel()
			call.Expect(487)
			in := b.Incoming(t)
			in.ExpectCancel()
			in.ExpectAck()
		},
	},
	{
		name:  "stateless",
		title: "the proxy keeps nothing: no 100 of its own, responses find their way by Via",
		mode:  sipproxy.Stateless,
		play: func(t siptest.T, a, b *siptest.Phone) {
			b.AnswerAfter(ringing)
			call := a.Call(t, "sip:309@"+a.Proxy)
			in := b.Incoming(t)
			in.ExpectAck()
			call.Bye()
			in.ExpectBye()
		},
	},
	{
		name:  "recorded",
		title: "with Record-Route all requests of the call take the proxy: INFO both ways, BYE of the callee",
		chain: sipproxy.Chain{recordroute.Router{LrOn: true, FromTag: true}.Middleware},
		play: func(t siptest.T, a, b *siptest.Phone) {
			b.AnswerAfter(ringing)
			call := a.Call(t, "sip:309@"+a.Proxy)
			in := b.Incoming(t)
			in.ExpectAck()
			call.Info("application/dtmf-relay", "Signal=2\r\nDuration=4800\r\n")
			in.ExpectRequest(sip.INFO)
			in.Info("application/dtmf-relay", "Signal=3\r\nDuration=4800\r\n")
			call.ExpectRequest(sip.INFO)
			in.Bye()
			call.ExpectBye()
		},
	},
}

// route finds the phones by their numbers; they do not register here.
func route(phones *sync.Map) sipproxy.HandlerFunc {
	return func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		addr, ok := phones.Load(r.URI.User)
		if !ok {
			return r.Reply(404)
		}
		return r.Forward(ctx, sipproxy.Target{URI: r.URI.WithHostPort(addr.(string))})
	}
}
