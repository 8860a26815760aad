package transaction

// An inviteClient is the INVITE client transaction of RFC 3261 §17.1.1 (figure 5),
// with the Accepted state of RFC 6026 §7.2 and the CANCEL rules of §9.1.
type inviteClient machine

// start sends the request and starts timers A and B (§17.1.1.2).
func (m *inviteClient) start(now Instant, t *Timers) action {
	m.state = calling
	(*machine)(m).startResend(now, t)
	m.expire = now.add(64 * t.T1)
	return actSend
}

// response is the arrival of a response with this status code.
func (m *inviteClient) response(now Instant, code int, t *Timers) action {
	switch m.state {
	case calling:
		if code < 200 {
			return m.proceed(now, t)
		}
		return m.final(now, code, t)
	case proceeding:
		if code < 200 {
			return actPass
		}
		return m.final(now, code, t)
	case completed:
		// A 2xx here comes from a fork behind a stateless proxy or from a
		// broken peer; the ACK of this transaction would be wrong for it and
		// the TU has its final response, so it is dropped like a late 1xx.
		if code >= 300 {
			return actAck
		}
	case accepted:
		// RFC 6026 §7.2: every 2xx goes to the TU, nothing else does.
		if code >= 200 && code < 300 {
			return actPass
		}
	}
	return 0
}

// proceed is the first 1xx: retransmission ends, and so does timer B. A CANCEL
// that had to wait for it (§9.1) leaves now.
func (m *inviteClient) proceed(now Instant, t *Timers) action {
	m.state, m.resend, m.expire = proceeding, 0, 0
	if m.cancel {
		m.expire = now.add(64 * t.T1)
		return actPass | actCancel
	}
	return actPass
}

func (m *inviteClient) final(now Instant, code int, t *Timers) action {
	m.resend = 0
	if code < 300 {
		m.state, m.expire = accepted, now.add(64*t.T1) // timer M
		return actPass
	}
	if m.reliable { // timer D is zero
		return (*machine)(m).end(actPass | actAck)
	}
	m.state, m.expire = completed, now.add(t.D)
	return actPass | actAck
}

// cancelled is the TU's wish for a CANCEL. It is sent after a 1xx only, and
// never after a final response (§9.1); from then the final may take 64*T1.
func (m *inviteClient) cancelled(now Instant, t *Timers) action {
	first := !m.cancel
	m.cancel = true
	if first && m.state == proceeding {
		m.expire = now.add(64 * t.T1)
		return actCancel
	}
	return 0
}

// timeout is called when the deadline has passed.
func (m *inviteClient) timeout(now Instant, _ *Timers) action {
	expired := (*machine)(m).expired(now)
	switch m.state {
	case calling:
		if expired { // timer B
			return (*machine)(m).end(actTimeout)
		}
		if (*machine)(m).resendDue(now) { // timer A
			(*machine)(m).backOff(now, 0)
			return actResend
		}
	case proceeding:
		if expired { // §9.1: 64*T1 after the CANCEL
			return (*machine)(m).end(actTimeout)
		}
	case completed, accepted:
		if expired { // timers D and M
			return (*machine)(m).end(0)
		}
	}
	return 0
}

// transportError is the failure to send, or the break of the connection.
//
// In Calling it ends the transaction (§17.1.4). In Proceeding figure 5 of RFC
// 3261 has no such arrow: the request has arrived, nothing is being sent, and
// the response may come over another connection, which §18.2.2 tells the server
// to open when the first is gone. In Completed it was the ACK that could not be
// sent; figure 5 ends the transaction there, but the TU has its final response
// already and hears nothing. In Accepted nothing is sent.
func (m *inviteClient) transportError() action {
	switch m.state {
	case calling:
		return (*machine)(m).end(actFail)
	case completed:
		return (*machine)(m).end(0)
	}
	return 0
}
