package transaction

// A nonInviteServer is the non-INVITE server transaction of RFC 3261 §17.2.2 (figure 8).
type nonInviteServer machine

func (m *nonInviteServer) start() { m.state = trying }

// request is the arrival of a copy of the request.
func (m *nonInviteServer) request() action {
	switch m.state {
	case proceeding, completed:
		return actResend
	}
	return 0 // Trying: discarded
}

// respond is a response of the TU. No action means: not in this state.
func (m *nonInviteServer) respond(now Instant, code int, t *Timers) action {
	switch m.state {
	case trying, proceeding: // a final in Trying too: erratum 1470
		if code < 200 {
			m.state = proceeding
			return actSend
		}
		if m.reliable { // timer J is zero
			return (*machine)(m).end(actSend)
		}
		m.state, m.expire = completed, now.add(64*t.T1)
		return actSend
	}
	return 0
}

// timeout is called when the deadline has passed.
func (m *nonInviteServer) timeout(now Instant, _ *Timers) action {
	if m.state == completed && (*machine)(m).expired(now) { // timer J
		return (*machine)(m).end(0)
	}
	return 0
}

// transportError informs the TU and stays where it is (RFC 6026 §8 on §17.2.4).
func (m *nonInviteServer) transportError() action {
	switch m.state {
	case proceeding, completed:
		return actFail
	}
	return 0
}
