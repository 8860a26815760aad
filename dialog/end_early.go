package dialog

import (
	"cmp"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// ackWait is how long a 2xx that was quicker than End may stay without ACK: the callee repeats it for 64*T1 (§13.3.1.4).
const ackWait = 32 * time.Second

// give finds what End is to end: a confirmed dialog. What is still being set up it ends at once, or dooms, and says so. Called without the lock.
func (s *shard) give(id ID, reason string) (d *dialog, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, _ = s.party(id.CallID, id.CallerTag, id.CalleeTag)
	switch {
	case d == nil: // a callee that has not been heard of yet, though its 2xx may be on its way through the hooks
		c := s.find(id.CallID, id.CallerTag)
		return nil, c != nil && c.cancel(reason)
	case d.state == Ended:
		return nil, false
	case d.state == Early:
		d.doomed, d.reason = true, reason
		d.call.cancel(reason)
		return nil, true
	case !d.acked && !d.doomed && s.t.now() < d.answered+instant(ackWait): // its 2xx may not have left yet
		d.doom(reason)
		s.schedule(d)
		return nil, true
	}
	return d, false
}

// cancel ends the INVITEs of a call that nobody has answered. It reports whether there were any. Called with the shard's mu held, within which the request's own
// lock is taken: nothing that holds that one comes here.
func (c *call) cancel(reason string) (found bool) {
	value := ""
	if reason != "" {
		value = reasonValue(reason)
	}
	for a := c.attempts; a != nil; a = a.next {
		if a.answers > 0 {
			continue
		}
		found, a.doomed = true, true
		a.reason = reason
		if a.r.Cancel(value) {
			a.ended = true
		}
	}
	return found
}

// forget takes an INVITE whose handler has returned out of the list. Called with the shard's mu held.
func (c *call) forget(a *attempt) {
	for p := &c.attempts; *p != nil; p = &(*p).next {
		if *p == a {
			*p, a.next = a.next, nil
			return
		}
	}
}

// verdict is the response to the caller of a call that End has ended, whatever the handler makes of it: a challenge, say, would only bring the call back.
func (a *attempt) verdict(res *sip.Response) *sip.Response {
	a.s.mu.Lock()
	ended := a.ended && a.answers == 0
	a.s.mu.Unlock()
	if !ended || res == sipproxy.NoReply || res.IsSuccess() {
		return res
	}
	code := cmp.Or(a.t.EndCode, 480)
	if code < 300 || code > 699 {
		code = 480
	}
	return a.r.Reply(code)
}

// doom lets a dialog live until its ACK has passed: a BYE that overtakes the 2xx would find nobody. Called with the lock.
func (d *dialog) doom(reason string) {
	if !d.doomed {
		d.doomed, d.reason = true, reason
	}
	d.expires = d.answered + instant(ackWait)
}

// acknowledged notes an ACK that has passed, and ends a doomed dialog behind it. Called without locks.
func (t *Tracker) acknowledged(r *sipproxy.Request) {
	s := t.shard(r.CallID())
	s.mu.Lock()
	defer s.mu.Unlock()
	d, _ := s.party(r.CallID(), r.FromTag(), r.ToTag())
	if d == nil || d.state != Confirmed {
		return
	}
	d.acked = true
	if !d.doomed || d.at < 0 {
		return
	}
	s.remove(d)
	reason := d.reason
	t.work.do(func() { t.expire(d, reason, true) })
}
