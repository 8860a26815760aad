package dialog

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// maxEarly bounds the early dialogs of one call: To tags are made by strangers.
const maxEarly = 64

// An attempt is one INVITE outside a dialog on its way through the handler. The guard is the shard's mu.
type attempt struct {
	t       *Tracker
	s       *shard
	r       *sipproxy.Request
	call    *call
	next    *attempt // same call
	dialed  string
	routes  int // Record-Routes it came with
	born    instant
	ringing instant
	answers int    // dialogs confirmed
	again   bool   // it has been here before: the first passage tells what becomes of it
	doomed  bool   // End came while it rang
	ended   bool   // and was what ended it
	reason  string // of End
}

// invite follows an INVITE outside a dialog.
func (t *Tracker) invite(ctx context.Context, r *sipproxy.Request, next sipproxy.Handler) *sip.Response {
	if t.held.Add(1) > t.max() {
		t.held.Add(-1)
		return t.limit(r)
	}
	t.count.calls.Add(1)
	t.count.pending.Add(1)
	a := t.begin(r)
	over := false
	defer func() {
		if !over { // the handler panicked
			a.end(ctx, nil, 500)
		}
	}()
	if !t.Light {
		r.OnResponse(a.response)
	}
	res := a.verdict(next.ServeSIP(ctx, r))
	over = true
	a.finish(ctx, r, res)
	return res
}

func (t *Tracker) limit(r *sipproxy.Request) *sip.Response {
	t.count.limited.Add(1)
	res := r.Reply(503)
	res.Set("Retry-After", strconv.Itoa(int(cmp.Or(t.RetryAfter, defaultRetryAfter)/time.Second)))
	return res
}

func (t *Tracker) begin(r *sipproxy.Request) *attempt {
	a := &attempt{t: t, s: t.shard(r.CallID()), r: r, born: t.now(), routes: count(&r.Header, "Record-Route"), dialed: r.URI.String()}
	a.s.mu.Lock()
	c := a.s.find(r.CallID(), r.FromTag())
	if c == nil {
		c = newCall(r)
		a.s.list(c)
	}
	again := c.open > 0
	c.open++
	a.call = c
	a.next, c.attempts = c.attempts, a
	a.s.mu.Unlock()
	a.again = again && spiral(r)
	return a
}

// spiral reports whether the request has passed through this server before.
func spiral(r *sipproxy.Request) bool {
	for v, err := range r.Vias() {
		if err == nil && r.Server().IsLocal(sip.URI{Scheme: "sip", Host: v.Host, Port: v.Port, Params: sip.Params(";transport=" + strings.ToLower(v.Transport))}) {
			return true
		}
	}
	return false
}

// response is the OnResponse hook.
func (a *attempt) response(b *sipproxy.Branch, res *sip.Response) {
	switch {
	case res.Cause != nil || res.Code <= 100 || res.Code >= 300:
	case res.Code < 200:
		a.early(b, res)
	default:
		a.confirm(b, res)
	}
}

// early notes a provisional response, and with a tag its dialog.
func (a *attempt) early(b *sipproxy.Branch, res *sip.Response) {
	tag := res.ToTag()
	now := a.t.now()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.ringing == 0 && res.Code != 100 {
		a.ringing = now
	}
	c := a.call
	if tag == "" || c.open == 0 { // the handler has returned: what is still early is being cancelled
		return
	}
	d := c.dialog(tag)
	if d == nil {
		if len(c.dialogs) >= maxEarly {
			a.t.count.crowded.Add(1)
			return
		}
		d = a.add(tag)
		d.ringing = now
	}
	if d.state == Early {
		a.learn(d, b, res)
	}
}

// add makes a dialog. Called with the lock, as all that have no comment.
func (a *attempt) add(tag string) *dialog {
	c := a.call
	d := &dialog{call: c, tag: strings.Clone(tag), born: a.born, dialed: a.dialed, at: -1}
	d.ends[0] = c.caller
	c.dialogs = append(c.dialogs, d)
	a.t.held.Add(1)
	a.t.count.early.Add(1)
	return d
}

// learn takes remote target and route set of the callee from a response (§12.1.2).
func (a *attempt) learn(d *dialog, b *sipproxy.Branch, res *sip.Response) {
	e := &d.ends[1]
	if c := contactOf(&res.Header); c != "" && c != e.contact {
		e.contact = strings.Clone(c)
	}
	e.routes = above(a.call.srv, &res.Header, a.routes)
	if b != nil {
		e.meet(b.Local, b.Remote)
	}
}

// confirm is a 2xx: START, once for each To tag. Called without locks.
func (a *attempt) confirm(b *sipproxy.Branch, res *sip.Response) {
	t, now := a.t, a.t.now()
	tag := res.ToTag()
	a.s.mu.Lock()
	a.answers++
	a.s.list(a.call) // a late one of a call that was over
	d := a.call.dialog(tag)
	if d == nil {
		d = a.add(tag)
	}
	if d.answered != 0 {
		a.s.mu.Unlock()
		return
	}
	d.answered, d.born, d.dialed = now, a.born, a.dialed
	if d.ringing == 0 {
		d.ringing = a.ringing
	}
	a.learn(d, b, res)
	t.count.confirmed.Add(1)
	crossed := d.state == Ended // its BYE was quicker
	if !crossed {
		t.count.early.Add(-1)
		t.count.live.Add(1)
		d.state = Confirmed
		d.expires = now + instant(t.maxAge())
		d.refresh(&res.Header, now)
		if t.Probe > 0 {
			d.probe = now + instant(t.Probe)
		}
		if a.doomed || d.doomed {
			d.doom(a.reason)
		}
		a.s.push(d)
	}
	if t.OnEvent != nil {
		start := t.dialogEvent(Start, d, now)
		start.Code, start.Reason = res.Code, strings.Clone(res.Reason)
		t.queue(d.call, &start)
	}
	if crossed {
		t.count.ended.Add(1)
		d.ended = now
		t.queueStop(d, 0, nil)
	}
	a.s.release(a.call)
	a.s.mu.Unlock()
	t.tell(d.call)
}

// finish looks at what the handler returned. Called without locks, as end.
func (a *attempt) finish(ctx context.Context, r *sipproxy.Request, res *sip.Response) {
	switch {
	case res.IsSuccess():
		a.confirm(nil, res) // nothing new when the hook has seen it
		a.end(ctx, res, 0)
	case res == sipproxy.NoReply:
		a.end(ctx, nil, 0)
	case res == nil:
		a.end(ctx, nil, 500)
	default:
		a.end(ctx, res, res.Code)
	}
}

// end closes the attempt: early dialogs go, and code tells the outcome when nobody answered; 0: nothing to tell.
func (a *attempt) end(ctx context.Context, res *sip.Response, code int) {
	t, now := a.t, a.t.now()
	kind := Kind(0)
	if code != 0 {
		kind = classify(code)
		if kind != 0 && ctx.Err() != nil {
			kind = Cancelled
		}
	}
	a.s.mu.Lock()
	c := a.call
	c.open--
	c.forget(a)
	if c.open == 0 {
		t.dropEarly(c)
	}
	if a.ended && code != 0 {
		kind = Cancelled
	}
	if a.answers > 0 || a.again {
		kind = 0
	}
	if kind != 0 {
		t.count.outcomes[kind].Add(1)
		if t.OnEvent != nil {
			e := a.outcome(kind, code, res, now)
			t.queue(c, &e)
		}
	}
	a.s.release(c)
	a.s.mu.Unlock()
	t.held.Add(-1)
	t.count.pending.Add(-1)
	if kind != 0 {
		t.tell(c)
	}
}

func (a *attempt) outcome(kind Kind, code int, res *sip.Response, now instant) Event {
	t := a.t
	e := t.event(kind, a.call, now)
	e.Dialed, e.Code, e.By = a.dialed, code, Callee
	e.Invited, e.Ringing, e.Ended = t.at(a.born), t.at(a.ringing), t.at(now)
	e.Setup = time.Duration(now - a.born)
	switch {
	case a.ended:
		e.By = Proxy
	case kind == Cancelled:
		e.By = Caller
	case res == nil || res.Cause != nil:
		e.By = Proxy
	}
	switch {
	case a.ended && a.reason != "":
		e.Reason = a.reason
	case res != nil:
		e.Reason = strings.Clone(res.Reason)
	}
	return e
}

// dropEarly forgets dialogs that were not confirmed.
func (t *Tracker) dropEarly(c *call) {
	for i := len(c.dialogs) - 1; i >= 0; i-- {
		if d := c.dialogs[i]; d.state == Early {
			d.state = Ended
			t.held.Add(-1)
			t.count.early.Add(-1)
			c.drop(d)
		}
	}
}
