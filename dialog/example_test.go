package dialog_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sipkit/sipkit/dialog"
	"github.com/sipkit/sipkit/recordroute"
	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// A proxy that writes a line for everything that happens to a call and ends calls after four hours.
func ExampleTracker() {
	calls := &dialog.Tracker{
		OnEvent: func(e dialog.Event) { fmt.Println(e) },
		MaxAge:  4 * time.Hour,
		Hangup:  true,
		Max:     10_000,
	}
	_ = &sipproxy.Server{
		Handler: sipproxy.Chain{calls.Middleware, recordroute.Middleware}.ThenFunc(
			func(ctx context.Context, r *sipproxy.Request) *sip.Response { return r.Forward(ctx) }),
		Busy: calls.Busy, // a graceful stop waits for them
	}
}

// What an operator's command does.
func ExampleTracker_End() {
	var calls dialog.Tracker
	for d := range calls.ByUser("alice@example.com") {
		fmt.Println(d.ID, d.State, d.From, d.To, time.Since(d.Answered))
		if err := calls.End(context.Background(), d.ID, "ended by the operator"); err != nil {
			fmt.Println(err) // a party that could not be reached
		}
	}
}
