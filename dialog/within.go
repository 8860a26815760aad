package dialog

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// within follows a request in a dialog. What it says counts only once the handler has let it pass.
func (t *Tracker) within(ctx context.Context, r *sipproxy.Request, next sipproxy.Handler) *sip.Response {
	s := t.shard(r.CallID())
	s.mu.Lock()
	d, side := s.party(r.CallID(), r.FromTag(), r.ToTag())
	s.mu.Unlock()
	if d == nil {
		return t.unknown(ctx, r, next)
	}
	// As soon as the other party may see it, a BYE of ours must have a higher CSeq.
	r.OnBranch(func(*sipproxy.Branch) { s.note(d, side, r) })
	if r.Method == sip.BYE {
		return t.bye(ctx, r, next, d, side)
	}
	res := next.ServeSIP(ctx, r)
	if !passed(res) {
		return res
	}
	s.note(d, side, r)
	if res.IsSuccess() && (r.Method == sip.INVITE || r.Method == sip.UPDATE) {
		s.retarget(d, side, r, res)
	}
	return res
}

// unknown lets a request of a dialog pass that is not known here: begun before a restart, over, or never seen. A BYE may belong to a call that is being set up.
func (t *Tracker) unknown(ctx context.Context, r *sipproxy.Request, next sipproxy.Handler) *sip.Response {
	res := next.ServeSIP(ctx, r)
	if r.Method == sip.BYE && res.IsSuccess() && t.overtaken(r) {
		return res
	}
	t.count.unknown.Add(1)
	if r.Method == sip.BYE {
		t.count.unknownBye.Add(1)
	}
	return res
}

// overtaken notes the BYE of a callee whose 2xx is still on its way.
func (t *Tracker) overtaken(r *sipproxy.Request) bool {
	s := t.shard(r.CallID())
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(r.CallID(), r.ToTag())
	if c == nil || c.open == 0 || len(c.dialogs) >= maxEarly || c.dialog(r.FromTag()) != nil {
		return false
	}
	now := t.now()
	d := &dialog{call: c, tag: strings.Clone(r.FromTag()), born: now, at: -1, state: Ended, by: Callee, reason: "BYE", ended: now}
	d.ends[0] = c.caller
	c.dialogs = append(c.dialogs, d)
	return true
}

// passed reports whether a request got further than to a refusal of our own.
func passed(res *sip.Response) bool {
	return res != nil && res != sipproxy.NoReply && (res.Cause != sip.ErrLocal || res.IsSuccess())
}

// note raises the CSeq of a party. Called without the lock, as retarget.
func (s *shard) note(d *dialog, side Side, r *sipproxy.Request) {
	n, _, err := r.CSeq()
	if err != nil {
		return
	}
	s.mu.Lock()
	if e := &d.ends[side-1]; n > e.seq {
		e.seq = n
	}
	s.mu.Unlock()
}

// retarget is the target refresh of a 2xx (§12.2), and the next period of the session timer.
func (s *shard) retarget(d *dialog, side Side, r *sipproxy.Request, res *sip.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ends[side-1].target(&r.Header)
	d.ends[2-side].target(&res.Header)
	if d.state == Confirmed {
		d.refresh(&res.Header, s.t.now())
		s.schedule(d)
	}
}

func (e *end) target(h *sip.Header) {
	if c := contactOf(h); c != "" && c != e.contact {
		e.contact = strings.Clone(c)
	}
}

// grace is how much later than the parties we believe that a session timer has run out.
const grace = 32 * time.Second

// refresh reads the Session-Expires of a 2xx (RFC 4028); without one, there is no session timer any more.
func (d *dialog) refresh(h *sip.Header, now instant) {
	v := h.Get("Session-Expires")
	if v == "" {
		v = h.Get("x")
	}
	v, _, _ = strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	d.session = 0
	if err == nil && n > 0 {
		d.session = now + instant(time.Duration(n)*time.Second+grace)
	}
}

// bye ends a dialog when the BYE's transaction is over.
func (t *Tracker) bye(ctx context.Context, r *sipproxy.Request, next sipproxy.Handler, d *dialog, side Side) *sip.Response {
	now := t.now()
	m := t.media(ctx, d)
	done := false
	defer func() {
		if !done { // the handler panicked: the caller hears 500, and the call is over
			t.stop(d, side, "BYE", 500, now, m)
		}
	}()
	res := next.ServeSIP(ctx, r)
	done = true
	s := t.shard(r.CallID())
	switch {
	case !passed(res) && res != nil:
		return res // refused here: the dialog lives on
	case res.Is(401, 407): // it will come again
		return res
	}
	if t.byeEarly(s, d, side, res.IsSuccess(), now) {
		return res
	}
	code := 0
	if res != nil && res.Cause == nil || res.IsSuccess() {
		code = res.Code
	}
	t.stop(d, side, "BYE", code, now, m)
	return res
}

// byeEarly deals with a BYE in a dialog that has no 2xx: when it is accepted the dialog is over (§15), and should the 2xx still come, so is that call.
func (t *Tracker) byeEarly(s *shard, d *dialog, side Side, accepted bool, now instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.state != Early {
		return false
	}
	if accepted {
		d.state, d.by, d.reason, d.ended = Ended, side, "BYE", now
		t.held.Add(-1)
		t.count.early.Add(-1)
	}
	return true
}

// media asks for the counters, before the relay forgets them.
func (t *Tracker) media(ctx context.Context, d *dialog) (m *Media) {
	if t.Media == nil {
		return nil
	}
	sipproxy.Block(ctx, func() {
		ctx, cancel := context.WithTimeout(ctx, mediaWait)
		defer cancel()
		var got Media
		var ok bool
		if got.Packets, got.Bytes, got.Lost, got.Jitter, ok = t.Media(ctx, d.call.callID, d.call.tag, d.tag); ok {
			m = &got
		}
	})
	return m
}

// stop ends a confirmed dialog: STOP, once. It reports whether it did. Called without locks.
func (t *Tracker) stop(d *dialog, by Side, reason string, code int, when instant, m *Media) bool {
	s := t.shard(d.call.callID)
	s.mu.Lock()
	if !t.close(s, d, by, reason, when) {
		s.mu.Unlock()
		return false
	}
	t.queueStop(d, code, m)
	s.release(d.call)
	s.mu.Unlock()
	t.tell(d.call)
	return true
}

// close takes a confirmed dialog out of everything. Called with s.mu held.
func (t *Tracker) close(s *shard, d *dialog, by Side, reason string, when instant) bool {
	if d.state != Confirmed {
		return false
	}
	d.state, d.by, d.reason, d.ended = Ended, by, reason, when
	s.remove(d)
	t.held.Add(-1)
	t.count.live.Add(-1)
	t.count.ended.Add(1)
	return true
}

func (t *Tracker) queueStop(d *dialog, code int, m *Media) {
	if t.OnEvent == nil {
		return
	}
	e := t.dialogEvent(Stop, d, d.ended)
	e.Code, e.Reason, e.By, e.Media = code, d.reason, d.by, m
	e.Ended = e.Time
	e.Duration = max(0, time.Duration(d.ended-d.answered))
	t.queue(d.call, &e)
}
