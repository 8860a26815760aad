package sipproxy

import (
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A Target is one place to forward a request to. The zero value follows Route, else
// the Request-URI.
type Target struct {
	URI    sip.URI        // the new Request-URI; zero: Request.URI
	Next   transport.Addr // next hop; zero: follow Route, else resolve URI
	Flow   transport.Flow // send on this flow (RFC 5626); zero: any
	Path   []sip.URI      // route set to push (RFC 3327), topmost first
	Q      float32        // preference for ForwardInTurn, 0..1
	Trying time.Duration  // bound on the wait for a first response; 0: Timer B
	Ring   time.Duration  // bound on the wait for a final response in this step; 0: Timer C

	// Else are tried in order, inside this fork, when this target answers 430 or 503,
	// cannot be reached or stays silent. A 503 by a Flow or Path is the word of the phone
	// that they lead to, and not asked for again (RFC 5626 §7).
	Else []Target

	// Stop ends the search of ForwardInTurn when it returns true for the best response
	// of a group; nil: on 2xx and 6xx.
	Stop func(*sip.Response) bool
}

// registered: the target is the flow of a registration.
func (t *Target) registered() bool { return !t.Flow.IsZero() || len(t.Path) > 0 }

// A Branch is one target of one Forward.
type Branch struct {
	Of      *Request
	Target  Target
	Request *sip.Request // the copy that goes out; OnSend gets a fresh clone each try
	ID      int          // stable over address failover: the leg id for media
	Try     int          // 0 for the first address

	Local, Remote transport.Addr // set for OnSend
	Flow          transport.Flow // set for OnSend

	branch
}
