package transaction

// A nonInviteClient is the non-INVITE client transaction of RFC 3261 §17.1.2 (figure 6).
type nonInviteClient machine

// start sends the request and starts timers E and F (§17.1.2.2).
func (m *nonInviteClient) start(now Instant, t *Timers) action {
	m.state = trying
	(*machine)(m).startResend(now, t)
	m.expire = now.add(64 * t.T1)
	return actSend
}

// response is the arrival of a response with this status code.
func (m *nonInviteClient) response(now Instant, code int, t *Timers) action {
	switch m.state {
	case trying, proceeding:
		if code < 200 {
			m.state = proceeding // timers E and F run on
			return actPass
		}
		return m.final(now, t)
	}
	return 0 // Completed: a retransmission
}

func (m *nonInviteClient) final(now Instant, t *Timers) action {
	if m.reliable { // timer K is zero
		return (*machine)(m).end(actPass)
	}
	m.state, m.resend, m.expire = completed, 0, now.add(t.T4)
	return actPass
}

// timeout is called when the deadline has passed.
func (m *nonInviteClient) timeout(now Instant, t *Timers) action {
	expired := (*machine)(m).expired(now)
	switch m.state {
	case trying:
		if expired { // timer F
			return (*machine)(m).end(actTimeout)
		}
		if (*machine)(m).resendDue(now) { // timer E
			(*machine)(m).backOff(now, t.T2)
			return actResend
		}
	case proceeding:
		if expired { // timer F
			return (*machine)(m).end(actTimeout)
		}
		if (*machine)(m).resendDue(now) { // timer E is T2 from now on
			m.sent, m.resend = now, now.add(t.T2)
			return actResend
		}
	case completed:
		if expired { // timer K
			return (*machine)(m).end(0)
		}
	}
	return 0
}

// transportError ends the transaction in Trying and in Proceeding, as figure 6
// has it: requests are still being sent in both.
func (m *nonInviteClient) transportError() action {
	switch m.state {
	case trying, proceeding:
		return (*machine)(m).end(actFail)
	}
	return 0
}
