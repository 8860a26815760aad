// Package dialog follows calls through a proxy: who talks to whom, since when, how it ended. It tells the events of a call as records for accounting,
// lists, counts and bounds the calls in progress, and ends one: with a BYE to both parties, or a CANCEL while it rings.
//
// A [Tracker] is a link of the handler chain, placed before recordroute, whose Record-Route keeps the BYE coming this way:
//
//	calls := &dialog.Tracker{
//		OnEvent: func(e dialog.Event) { slog.Info("call", "event", e) }, // kind=STOP call-id=... duration=3m2s ...
//		Max:     10_000,        // further calls get 503
//		MaxAge:  4 * time.Hour, // no call is longer
//		Hangup:  true,          // and both parties are told
//	}
//	server := &sipproxy.Server{
//		Handler: sipproxy.Chain{calls.Middleware, recordroute.Middleware}.ThenFunc(route),
//		Busy:    calls.Busy, // a graceful stop waits for calls
//	}
//
// An operator's command then lists and ends calls:
//
//	for d := range calls.ByUser("alice@example.com") {
//		err = calls.End(ctx, d.ID, "ended by the operator")
//	}
//
// # What is followed
//
// Dialogs made by INVITE (RFC 3261 section 12), one for each To tag, so that every callee of a fork has its own. They are early from the first provisional response with a To
// tag, confirmed from the 2xx, and end with BYE, by [Tracker.End], or by age. Re-INVITE and UPDATE (RFC 3311) refresh the parties' Contacts, every request
// their CSeq. A Session-Expires in the 2xx (RFC 4028) bounds the age. Dialogs of subscriptions are not followed. Requests handled without state pass untouched.
//
// State is in memory: after a restart, requests of calls begun before pass as any others and are counted in [Stats].Unknown.
//
// # Events
//
// A call that is answered gives one START and one STOP for each dialog that got a 2xx, mostly one. A call that is not answered gives one of
// MISSED (408, 480, 486, 600), REFUSED (3xx, 402, 403, 488, 603, 606, 607, 608), CANCELLED (by the caller, or by [Tracker.End]: Event.By tells) or FAILED (the rest). A
// challenge (401, 407) is no end of a call and gives none. When a 2xx crosses with the CANCEL, there is a START in place of the CANCELLED, or behind it.
//
// The STOP comes when the BYE's transaction is over, whatever became of it, but for a challenge to the BYE and for a BYE that a handler refused itself.
// Its times are those of the BYE's arrival.
package dialog
