package transaction

import (
	"errors"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// Timers are the values of RFC 3261 Appendix A. A zero field means the default written beside it.
type Timers struct {
	T1 time.Duration // 500 ms
	T2 time.Duration // 4 s
	T4 time.Duration // 5 s
	D  time.Duration // 32 s (UDP; 0 s on reliable transports always)
	C  time.Duration // 181 s: over three minutes (§16.6 step 11); used by the engine
}

// withDefaults fills in the zero fields.
func (t Timers) withDefaults() Timers {
	t.T1 = or(t.T1, 500*time.Millisecond)
	t.T2 = or(t.T2, 4*time.Second)
	t.T4 = or(t.T4, 5*time.Second)
	t.D = or(t.D, 32*time.Second)
	t.C = or(t.C, 181*time.Second)
	return t
}

func or[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

var (
	ErrTimeout    = errors.New("transaction: timeout")         // Timer B, F or H, or no final response after a CANCEL
	ErrTransport  = errors.New("transaction: transport error") // wraps the cause
	ErrExists     = errors.New("transaction: exists")          // another transaction has this key
	ErrLimit      = errors.New("transaction: too many")        // Config.Servers or Config.Clients reached
	ErrTerminated = errors.New("transaction: terminated")      // the state forbids it, or the layer is closed
)

// Config is what New wants to know. Its zero value works, except that nothing can be sent without a Transport.
type Config struct {
	Timers    Timers
	Transport *transport.Layer
	Servers   int // server transactions at once, finished ones included; 1,000,000
	Clients   int // client transactions at once, finished ones included; 1,000,000
}

// Stats are counters of one Layer; those without "now" only grow.
type Stats struct {
	Servers, Clients           int    // now, finished ones that still absorb copies included
	ServersTotal, ClientsTotal uint64 // ever opened
	Retransmitted              uint64 // messages sent again: by timers A, E, G, for a 2xx, and as the answer to a copy
	Absorbed                   uint64 // copies, and ACKs to a non-2xx, that went no further
	Stray                      uint64 // responses and ACKs that belong to no transaction
	Timeouts                   uint64 // timers B, F, H; no final after a CANCEL; no ACK for a 2xx
	Refused                    uint64 // ErrLimit
}
