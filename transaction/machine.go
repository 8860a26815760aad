package transaction

import "time"

// An Instant is a point in time in nanoseconds since its Layer was made, on the
// monotonic clock; machines take it as an argument. Zero means "never" where a
// deadline is expected.
type Instant int64

func (i Instant) add(d time.Duration) Instant { return i + Instant(d) }

// A state is one of the boxes in figures 5 to 8 of RFC 3261 and in the figures of RFC 6026.
type state uint8

const (
	calling state = iota + 1
	trying
	proceeding
	completed
	confirmed
	accepted // RFC 6026
	terminated
)

// An action is what a machine wants done after an event: any set of these flags.
type action uint16

const (
	actSend    action = 1 << iota // send the message at hand: the request, or the response given
	actResend                     // send what was sent last once more
	actAck                        // send the ACK of §17.1.1.3
	actCancel                     // send the CANCEL of §9.1
	actPass                       // hand the message to the TU
	actTimeout                    // tell the TU of a timeout
	actFail                       // tell the TU of a transport error
	actEnd                        // the transaction is over: forget it
)

// has reports whether one of the flags of b is set.
func (a action) has(b action) bool { return a&b != 0 }

// A machine is the memory of each of the four state machines, which differ in
// what they do with it only. It owns no clock: every event brings the time, and
// deadline tells when it next wants a timeout event.
type machine struct {
	state    state
	reliable bool    // the transport is: no retransmissions, no lingering
	cancel   bool    // CANCEL was asked for
	sink     bool    // the transport remembers the transaction until told to forget
	code     uint16  // of the final response that a server sent, 0 before
	sent     Instant // when the message that resend is about was sent last
	resend   Instant // timers A, E, G
	expire   Instant // timers B, D, F, H, I, J, K, L, M and the wait after a CANCEL
}

func (m *machine) deadline() Instant {
	if m.resend != 0 && (m.expire == 0 || m.resend < m.expire) {
		return m.resend
	}
	return m.expire
}

func (m *machine) end(a action) action {
	m.state, m.resend, m.expire = terminated, 0, 0
	return a | actEnd
}

// startResend starts timer A, E or G, which reliable transports do without.
func (m *machine) startResend(now Instant, t *Timers) {
	if !m.reliable {
		m.sent, m.resend = now, now.add(t.T1)
	}
}

// backOff sets the next retransmission at twice the last interval, or at limit if that is less; 0 is no limit.
func (m *machine) backOff(now Instant, limit time.Duration) {
	d := 2 * time.Duration(m.resend-m.sent)
	if limit > 0 && d > limit {
		d = limit
	}
	m.sent, m.resend = now, now.add(d)
}

func (m *machine) resendDue(now Instant) bool { return m.resend != 0 && now >= m.resend }
func (m *machine) expired(now Instant) bool   { return m.expire != 0 && now >= m.expire }
