package transaction

// An inviteServer is the INVITE server transaction of RFC 3261 §17.2.1 (figure 7)
// with the Accepted state of RFC 6026 §7.1. The 100 is the TU's to send.
type inviteServer machine

func (m *inviteServer) start() { m.state = proceeding }

// request is the arrival of a copy of the INVITE.
func (m *inviteServer) request() action {
	switch m.state {
	case proceeding, completed:
		return actResend
	}
	return 0 // Confirmed, Accepted: absorbed in silence
}

// ack is the arrival of an ACK that matches (§17.2.3).
func (m *inviteServer) ack(now Instant, t *Timers) action {
	switch m.state {
	case completed:
		if m.reliable { // timer I is zero
			return (*machine)(m).end(0)
		}
		m.state, m.resend, m.expire = confirmed, 0, now.add(t.T4)
	case accepted:
		return actPass // RFC 6026 §7.1: to the TU
	}
	return 0
}

// respond is a response of the TU. No action means: not in this state.
func (m *inviteServer) respond(now Instant, code int, t *Timers) action {
	switch m.state {
	case proceeding:
		switch {
		case code < 200:
		case code < 300:
			m.state, m.expire = accepted, now.add(64*t.T1) // timer L
		default:
			m.state, m.expire = completed, now.add(64*t.T1) // timer H
			(*machine)(m).startResend(now, t)               // timer G
		}
		return actSend
	case accepted:
		// Further 2xx of a fork, and the retransmissions of the TU.
		if code >= 200 && code < 300 {
			return actSend
		}
	}
	return 0
}

// timeout is called when the deadline has passed.
func (m *inviteServer) timeout(now Instant, t *Timers) action {
	expired := (*machine)(m).expired(now)
	switch m.state {
	case completed:
		if expired { // timer H
			return (*machine)(m).end(actTimeout)
		}
		if (*machine)(m).resendDue(now) { // timer G
			(*machine)(m).backOff(now, t.T2)
			return actResend
		}
	case confirmed, accepted:
		if expired { // timers I and L
			return (*machine)(m).end(0)
		}
	}
	return 0
}

// transportError informs the TU and stays where it is: RFC 6026 §8 amends
// §17.2.4 so, since a transaction that ended here would take the next copy of
// the request for a new one.
func (m *inviteServer) transportError() action {
	switch m.state {
	case proceeding, completed, accepted:
		return actFail
	}
	return 0
}
