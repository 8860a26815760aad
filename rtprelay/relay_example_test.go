package rtprelay_test

import (
	"context"
	"net/netip"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/rtprelay"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A proxy that relays the media of all calls from a public network into a private one, and ends calls whose media stop.
func ExampleRelay() {
	engine := &rtprelay.Embedded{Interfaces: []rtprelay.Interface{
		{Name: "internal", Addr: netip.MustParseAddr("10.0.0.1")},
		{Name: "external", Addr: netip.MustParseAddr("10.1.0.1"), Advertise: netip.MustParseAddr("203.0.113.1")},
	}}
	relay := &rtprelay.Relay{
		Engine: engine,
		Options: func(_ *sipproxy.Branch, fromCaller bool) rtprelay.Options {
			if fromCaller { // callers are out there, the phones they call in here
				return rtprelay.Options{From: "external", To: "internal"}
			}
			return rtprelay.Options{From: "internal", To: "external"}
		},
	}
	calls := &dialog.Tracker{Media: relay.Media}
	relay.OnTimeout = func(r rtprelay.Ref) {
		go func() { // End waits for the answers to both BYEs
			_ = calls.End(context.Background(), dialog.ID{CallID: r.CallID, CallerTag: r.FromTag, CalleeTag: r.ToTag}, "no media")
		}()
	}
	engine.OnTimeout = relay.TimedOut
	_ = &sipproxy.Server{
		Handler: sipproxy.Chain{
			calls.Middleware,
			relay.Middleware,
			recordroute.Router{Params: relay.Params}.Middleware, // the engine is found again after a restart
		}.ThenFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response { return r.Forward(ctx) }),
		Busy: calls.Busy,
	}
}

// Several engines behind one Relay: a call is refused only when none of three takes it.
func ExampleRelay_set() {
	_ = &rtprelay.Relay{
		Engine: &rtprelay.Set{Members: []rtprelay.Member{
			{Name: "fra1", Engine: &rtprelay.RTPProxy{Address: "udp:10.0.0.1:7722"}, Weight: 2},
			{Name: "fra2", Engine: &rtprelay.NG{Address: "udp:10.0.0.2:2223"}},
		}},
		Pass: true, // better a call without a relay than none
	}
}
