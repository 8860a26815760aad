package siptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A serverTx is a request that a phone received and its answers; guarded by p.mu.
type serverTx struct {
	p     *Phone
	req   *sip.Request
	text  string
	from  hop
	call  *call
	sent  []byte // last response
	final int
	acked bool
	again *resend
	ended bool // by CANCEL
}

func serverKey(h *sip.Header, m sip.Method) string {
	v, _ := h.Via() // checked
	return v.Branch() + " " + v.HostPort() + " " + string(m)
}

// request is the way in of requests; p.mu is held.
func (p *Phone) request(req *sip.Request, from hop) {
	p.checkRequest(req, from)
	if tx := p.servers[serverKey(&req.Header, req.Method)]; tx != nil && req.Method != sip.ACK {
		tx.repeated(req, from)
		return
	}
	tx := &serverTx{p: p, req: req, text: req.String(), from: from}
	tx.received()
	switch req.Method {
	case sip.ACK:
		p.acked(req)
		return
	case sip.CANCEL:
		p.servers[serverKey(&req.Header, req.Method)] = tx
		tx.cancel()
		return
	}
	p.servers[serverKey(&req.Header, req.Method)] = tx
	switch {
	case req.ToTag() != "":
		tx.inDialog()
	case p.merged(tx):
		tx.answer(482)
	case req.Method == sip.INVITE:
		p.invited(tx)
	default:
		tx.serve(nil)
		p.requests.put(req)
	}
}

// received fills in what §18.2.1 and RFC 3581 want of a server.
func (tx *serverTx) received() {
	v, _ := tx.req.Via()
	ip, port := "", uint16(0)
	if v.Host != tx.from.addr.Addr().String() && v.Host != "["+tx.from.addr.Addr().String()+"]" {
		ip = tx.from.addr.Addr().String()
	}
	if v.Params.Has("rport") {
		ip, port = tx.from.addr.Addr().String(), tx.from.addr.Port()
	}
	tx.req.SetViaReceived(ip, port)
}

// repeated answers a copy as before.
func (tx *serverTx) repeated(req *sip.Request, from hop) {
	switch {
	case from.reliable():
		tx.p.failf("a copy of a request over a reliable transport:\n%s", req)
	case req.String() != tx.text:
		tx.p.failf("a copy of a request differs from the first:\n%s\nthe first:\n%s", req, tx.text)
	case tx.sent != nil && !tx.acked:
		tx.p.transmit(tx.back(), tx.sent)
	}
}

// merged reports a request that came already on another way (§8.2.2.2).
func (p *Phone) merged(tx *serverTx) bool {
	n, m, _ := tx.req.CSeq()
	for _, o := range p.servers {
		k, om, _ := o.req.CSeq()
		if o != tx && k == n && om == m && o.req.CallID() == tx.req.CallID() && o.req.FromTag() == tx.req.FromTag() {
			return true
		}
	}
	return false
}

// back is where a response goes (§18.2.2, RFC 3581).
func (tx *serverTx) back() hop {
	h := tx.from
	if h.reliable() {
		if h.conn == nil || !h.conn.broken {
			return h
		}
		h.conn = nil
	}
	v, _ := tx.req.Via()
	port := v.Port
	if port == 0 {
		port = 5060
	}
	if s, ok := v.Params.Get("rport"); ok && h.proto == transport.UDP {
		if n, err := strconv.ParseUint(s, 10, 16); err == nil {
			port = uint16(n)
		}
	}
	h.addr = netip.AddrPortFrom(h.addr.Addr(), port)
	return h
}

// answer responds with nothing but a code; p.mu is held.
func (tx *serverTx) answer(code int) { tx.respond(tx.response(code)) }

func (tx *serverTx) response(code int) *sip.Response {
	tag := fmt.Sprintf("%s-%d", tx.p.Name, tx.p.number)
	if tx.call != nil && tx.call.tag != "" {
		tag = tx.call.tag
	}
	res := sip.NewResponse(tx.req, code, "", tag)
	if tx.req.Method == sip.INVITE && code > 100 && code < 300 {
		res.CopyRecordRoute(tx.req)
		res.Set("Contact", "<"+tx.p.Contact()+">")
		if code >= 200 {
			res.SetBody("application/sdp", tx.p.sdp())
		}
	}
	return res
}

// respond sends and, where the RFC wants it, sends again until the ACK comes.
func (tx *serverTx) respond(res *sip.Response) {
	p := tx.p
	if p.EditResponse != nil {
		p.EditResponse(res)
	}
	tx.sent = res.AppendTo(nil)
	p.transmit(tx.back(), tx.sent)
	if res.IsProvisional() {
		return
	}
	tx.final = res.Code
	if tx.req.Method != sip.INVITE {
		return
	}
	wait := p.T1
	if tx.from.reliable() && !res.IsSuccess() {
		wait = 0
	}
	tx.again = p.repeat(wait, p.T2, func() { p.transmit(tx.back(), tx.sent) }, func() {
		p.failf("no ACK came for the %d to\n%s", tx.final, tx.req)
	})
}

// acked takes an ACK: to a final that is no 2xx by its branch, to a 2xx by its dialog.
func (p *Phone) acked(req *sip.Request) {
	if tx := p.servers[serverKey(&req.Header, sip.INVITE)]; tx != nil && tx.final >= 300 {
		p.checkSibling(tx.req, req)
		tx.acknowledged(req)
		return
	}
	c := p.dialog(req)
	n, _, _ := req.CSeq()
	if c == nil {
		p.failf("an ACK for no call of ours:\n%s", req)
		return
	}
	p.checkInDialog(c, req)
	tx := c.invites[n]
	if tx == nil {
		p.failf("an ACK whose CSeq is of no INVITE in the call:\n%s", req)
		return
	}
	if tx.final == 0 || tx.final >= 300 {
		p.failf("an ACK for a 2xx that was not sent:\n%s", req)
		return
	}
	if v, _ := req.Via(); sameBranch(v, tx.req) {
		p.failf("the ACK of a 2xx has the branch of the INVITE:\n%s", req)
	}
	tx.acknowledged(req)
}

func sameBranch(v sip.Via, req *sip.Request) bool {
	o, _ := req.Via()
	return v.Branch() == o.Branch()
}

func (tx *serverTx) acknowledged(req *sip.Request) {
	tx.again.stop()
	if !tx.acked && tx.call != nil {
		tx.call.requests.put(req)
	}
	tx.acked = true
}

// cancel answers a CANCEL (§9.2).
func (tx *serverTx) cancel() {
	p := tx.p
	o := p.servers[serverKey(&tx.req.Header, sip.INVITE)]
	if o == nil {
		tx.answer(481)
		return
	}
	p.checkSibling(o.req, tx.req)
	if o.final == 0 {
		tx.call = o.call
	}
	tx.answer(200)
	if o.call != nil {
		o.call.requests.put(tx.req)
	}
	if o.final == 0 {
		o.ended = true
		if o.call != nil && o.call.server == o {
			close(o.call.cancelled)
		}
		o.answer(487)
	}
}

// dialog finds the call a request belongs to.
func (p *Phone) dialog(req *sip.Request) *call {
	for _, c := range p.calls {
		if c.made && c.id == req.CallID() && c.localTag() == req.ToTag() && c.remoteTag() == req.FromTag() {
			return c
		}
	}
	return nil
}

func (tx *serverTx) inDialog() {
	p, c := tx.p, tx.p.dialog(tx.req)
	if c == nil {
		tx.serve(nil)
		return
	}
	tx.call = c
	p.checkInDialog(c, tx.req)
	n, m, _ := tx.req.CSeq()
	if n <= c.remoteSeq && c.remoteSeq != 0 {
		p.failf("a request whose CSeq does not rise (last %d):\n%s", c.remoteSeq, tx.req)
		tx.answer(500)
		return
	}
	c.remoteSeq = n
	if m == sip.INVITE {
		c.invites[n] = tx
	}
	if u, ok := contact(&tx.req.Header); ok && (m == sip.INVITE || m == sip.UPDATE) {
		c.target = u
	}
	if m == sip.BYE {
		c.ended = true
	}
	tx.serve(c)
	c.requests.put(tx.req)
}

// serve answers what is no new INVITE.
func (tx *serverTx) serve(c *call) {
	p := tx.p
	if p.Serve != nil {
		var h *Call
		if c != nil {
			h = &Call{c, background{p.T}}
		}
		if res := p.Serve(h, tx.req); res != nil {
			tx.respond(res)
			return
		}
	}
	if c == nil && tx.req.ToTag() != "" {
		tx.answer(481)
		return
	}
	tx.answer(200)
}

// invited opens a call and runs the behaviour.
func (p *Phone) invited(tx *serverTx) {
	tag := fmt.Sprintf("%s-%d", p.Name, p.next())
	c := p.newCall(dialogOf(tx.req, tag))
	c.server, c.tag, tx.call = tx, tag, c
	c.invites[c.remoteSeq] = tx
	p.incoming.put(c)
	if f := p.behaviour; f != nil {
		p.group.Go(func() { f(&Call{c, background{p.T}}) })
	}
}

// Incoming waits for the next call to this phone. Its behaviour is at work on it already; after Silent the test answers itself.
func (p *Phone) Incoming(t T) *Call {
	t.Helper()
	c, ok := p.incoming.get(p.Wait, p.ctx.Done())
	if !ok {
		t.Fatalf("%s: expected a call: none came in %v", p.Name, p.Wait)
	}
	return &Call{c, t}
}

// NoCall waits for d and fails the test when a call comes meanwhile.
func (p *Phone) NoCall(t T, d time.Duration) {
	t.Helper()
	if c, ok := p.incoming.get(d, p.ctx.Done()); ok {
		t.Fatalf("%s: expected no call, got\n%s", p.Name, c.server.req)
	}
}

// Received waits for the next request outside any call, other than INVITE, and fails the test when it has another method.
func (p *Phone) Received(t T, m sip.Method) *sip.Request {
	t.Helper()
	req, ok := p.requests.get(p.Wait, p.ctx.Done())
	if !ok {
		t.Fatalf("%s: expected %s: nothing came in %v", p.Name, m, p.Wait)
		return nil
	}
	if req.Method != m {
		t.Fatalf("%s: expected %s, got\n%s", p.Name, m, req)
	}
	return req
}

// Respond answers the INVITE. A final after a CANCEL is not sent: the phone has sent 487.
func (c *Call) Respond(code int, edit ...func(*sip.Response)) {
	c.t.Helper()
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	tx := c.server
	switch {
	case tx == nil:
		c.t.Fatalf("%s: this side made the call: it has nothing to answer", p.Name)
	case tx.ended:
		return
	case tx.final != 0:
		c.t.Fatalf("%s: a second final response: %d after %d", p.Name, code, tx.final)
	}
	res := tx.response(code)
	for _, f := range edit {
		f(res)
	}
	if code >= 200 && code < 300 {
		c.confirmed = true
	}
	tx.respond(res)
}

// Trying answers 100.
func (c *Call) Trying() { c.t.Helper(); c.Respond(100) }

// Ring answers 180.
func (c *Call) Ring() { c.t.Helper(); c.Respond(180) }

// Answer answers 200 with a session description.
func (c *Call) Answer() { c.t.Helper(); c.Respond(200) }

// Refuse answers with a final code.
func (c *Call) Refuse(code int) { c.t.Helper(); c.Respond(code) }

// Redirect answers with contacts: "sip:carol@example.com", "<sip:dave@example.com>;q=0.5".
func (c *Call) Redirect(code int, contacts ...string) {
	c.t.Helper()
	c.Respond(code, func(res *sip.Response) {
		for _, s := range contacts {
			if s[0] != '<' {
				s = "<" + s + ">"
			}
			res.Add("Contact", s)
		}
	})
}

// Pause waits for d and reports whether the call is still ringing: false as soon as it is cancelled.
func (c *Call) Pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.cancelled:
	case <-c.p.ctx.Done():
	}
	return false
}

// ---- behaviours

func answerAtOnce(c *Call) {
	c.Ring()
	c.Answer()
}

// OnCall sets what the phone does with calls from now on: f runs on a goroutine for each. The default is Answer.
func (p *Phone) OnCall(f func(c *Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behaviour = f
}

// Answer rings and answers at once.
func (p *Phone) Answer() { p.OnCall(answerAtOnce) }

// AnswerAfter rings for d, then answers.
func (p *Phone) AnswerAfter(d time.Duration) {
	p.OnCall(func(c *Call) {
		c.Ring()
		if c.Pause(d) {
			c.Answer()
		}
	})
}

// Ring rings and never answers.
func (p *Phone) Ring() { p.OnCall(func(c *Call) { c.Ring() }) }

// Refuse answers with a final code.
func (p *Phone) Refuse(code int) { p.OnCall(func(c *Call) { c.Refuse(code) }) }

// Redirect answers with contacts; see Call.Redirect.
func (p *Phone) Redirect(code int, contacts ...string) {
	contacts = slices.Clone(contacts)
	p.OnCall(func(c *Call) { c.Redirect(code, contacts...) })
}

// Silent does not answer INVITEs at all: neither by itself nor with 100. The test may, on the Call that Incoming gives.
func (p *Phone) Silent() { p.OnCall(nil) }
