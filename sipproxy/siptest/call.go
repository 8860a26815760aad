package siptest

import (
	"fmt"
	"time"

	"github.com/sipkit/sipkit/sip"
)

// A Call is a dialog of a phone made by INVITE, on either side, from the INVITE on. A response or request that is expected and
// does not come, or another in its place, fails the test.
type Call struct {
	*call
	t T
}

// call is what a Call shares with the goroutines of its phone; guarded by p.mu beside the queues and channels.
type call struct {
	dialog
	p         *Phone
	tx        *transaction // of the INVITE we sent, nil on the other side
	server    *serverTx    // of the INVITE we received
	tag       string       // ours, on the side that was called
	requests  *queue[*sip.Request]
	forks     *queue[*call]
	cancelled chan struct{}
	ok        map[*transaction]*sip.Response
	acks      map[*transaction]sentAck
	invites   map[uint32]*serverTx // INVITEs received in the dialog by CSeq
}

type sentAck struct {
	hop  hop
	text []byte
}

func (p *Phone) newCall(d dialog) *call {
	c := &call{
		dialog: d, p: p, requests: newQueue[*sip.Request](), forks: newQueue[*call](), cancelled: make(chan struct{}),
		ok: make(map[*transaction]*sip.Response), acks: make(map[*transaction]sentAck), invites: make(map[uint32]*serverTx),
	}
	p.calls = append(p.calls, c)
	return c
}

// fork makes the dialog of a further 2xx; p.mu is held.
func (c *call) fork() *call {
	d := c.dialog
	d.made, d.confirmed, d.remote, d.seq = false, false, "", 1
	f := c.p.newCall(d)
	f.tx = c.tx
	return f
}

// Invite calls a URI. edit may change the INVITE before it leaves.
func (p *Phone) Invite(t T, uri string, edit ...func(*sip.Request)) *Call {
	t.Helper()
	d := p.newDialog(t, uri)
	p.mu.Lock()
	c := p.newCall(*d)
	p.mu.Unlock()
	p.start(t, &c.dialog, sip.INVITE, c, edit)
	return &Call{c, t}
}

// Call calls a URI and goes as far as the ACK: a 2xx is expected.
func (p *Phone) Call(t T, uri string, edit ...func(*sip.Request)) *Call {
	t.Helper()
	c := p.Invite(t, uri, edit...)
	if res := c.Final(); !res.IsSuccess() {
		t.Fatalf("%s: the call to %s was refused: %d %s", p.Name, uri, res.Code, res.Reason)
	}
	c.Ack()
	return c
}

// ID is the Call-ID.
func (c *Call) ID() string { return c.id }

// Transaction is the INVITE transaction of a call that this side made.
func (c *Call) Transaction() *Transaction {
	c.t.Helper()
	if c.tx == nil {
		c.t.Fatalf("%s: this side was called: it has no responses to expect", c.p.Name)
	}
	return &Transaction{c.tx, c.t}
}

// Invitation is the INVITE that opened the call.
func (c *Call) Invitation() *sip.Request {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.tx != nil {
		return c.tx.req
	}
	return c.server.req
}

// Expect is Transaction.Expect of the INVITE.
func (c *Call) Expect(codes ...int) *sip.Response {
	c.t.Helper()
	return c.Transaction().Expect(codes...)
}

// Final is Transaction.Final of the INVITE.
func (c *Call) Final() *sip.Response {
	c.t.Helper()
	return c.Transaction().Final()
}

// Nothing is Transaction.Nothing of the INVITE.
func (c *Call) Nothing(d time.Duration) {
	c.t.Helper()
	c.Transaction().Nothing(d)
}

// Cancel is Transaction.Cancel of the INVITE.
func (c *Call) Cancel(edit ...func(*sip.Request)) {
	c.t.Helper()
	c.Transaction().Cancel(edit...)
}

// Fork waits for a further 2xx to the INVITE, from another callee, and gives its dialog, which wants an Ack and a Bye of its own.
func (c *Call) Fork() *Call {
	c.t.Helper()
	f, ok := c.forks.get(c.p.Wait, c.p.ctx.Done())
	if !ok {
		c.t.Fatalf("%s: no further 2xx came in %v", c.p.Name, c.p.Wait)
	}
	return &Call{f, c.t}
}

// Ack acknowledges the 2xx; copies of it get the same ACK again.
func (c *Call) Ack(edit ...func(*sip.Request)) {
	c.t.Helper()
	c.ack(c.t, c.Transaction().transaction, edit)
}

// Ack acknowledges the 2xx to a re-INVITE made with Call.Start.
func (tx *Transaction) Ack(edit ...func(*sip.Request)) {
	tx.t.Helper()
	if tx.call == nil {
		tx.t.Fatalf("%s: ACK outside a call", tx.p.Name)
	}
	tx.call.ack(tx.t, tx.transaction, edit)
}

func (c *call) ack(t T, tx *transaction, edit []func(*sip.Request)) {
	t.Helper()
	p := c.p
	p.mu.Lock()
	sure, d := c.ok[tx] != nil, c.dialog
	p.mu.Unlock()
	if !sure {
		t.Fatalf("%s: ACK before a 2xx", p.Name)
	}
	uri, routes := d.way()
	h, err := p.hopFor(&d, uri, routes)
	if err != nil {
		t.Fatalf("%s: no way to send the ACK: %v", p.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n, _, _ := tx.req.CSeq()
	req := p.compose(sip.ACK, uri, routes, &d, n, h)
	p.finish(req, edit)
	a := sentAck{h, req.AppendTo(nil)}
	c.acks[tx] = a
	p.transmit(a.hop, a.text)
}

// Start sends a request in the dialog: a re-INVITE (acknowledge its 2xx with Transaction.Ack), UPDATE, INFO ...
func (c *Call) Start(m sip.Method, edit ...func(*sip.Request)) *Transaction {
	c.t.Helper()
	return c.p.start(c.t, &c.dialog, m, c.call, edit)
}

// Send sends a request in the dialog and expects 200.
func (c *Call) Send(m sip.Method, edit ...func(*sip.Request)) *sip.Response {
	c.t.Helper()
	return c.Start(m, edit...).Expect(200)
}

// Reinvite sends a re-INVITE, expects 200 and acknowledges it.
func (c *Call) Reinvite(edit ...func(*sip.Request)) {
	c.t.Helper()
	tx := c.Start(sip.INVITE, edit...)
	tx.Expect(200)
	tx.Ack()
}

// Info sends an INFO and expects 200.
func (c *Call) Info(contentType, body string) {
	c.t.Helper()
	c.Send(sip.INFO, func(r *sip.Request) { r.SetBody(contentType, body) })
}

// Bye hangs up and expects 200.
func (c *Call) Bye(edit ...func(*sip.Request)) {
	c.t.Helper()
	c.Send(sip.BYE, edit...)
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.ended = true
}

// Ended reports whether either side has hung up.
func (c *Call) Ended() bool {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.ended
}

// ExpectRequest waits for the next request in the call (ACK and CANCEL included, copies not) and fails the test when it has
// another method. The phone has answered it already. A proxy with handlers on goroutines may let a request overtake the one
// sent just before it, a BYE the ACK for instance: let the test wait for the first before it sends the second.
func (c *Call) ExpectRequest(m sip.Method) *sip.Request {
	c.t.Helper()
	req, ok := c.requests.get(c.p.Wait, c.p.ctx.Done())
	if !ok {
		c.t.Fatalf("%s: expected %s: nothing came in %v", c.p.Name, m, c.p.Wait)
		return nil
	}
	if req.Method != m {
		c.t.Fatalf("%s: expected %s, got\n%s", c.p.Name, m, req)
	}
	return req
}

// ExpectAck is ExpectRequest(sip.ACK).
func (c *Call) ExpectAck() *sip.Request { c.t.Helper(); return c.ExpectRequest(sip.ACK) }

// ExpectBye is ExpectRequest(sip.BYE).
func (c *Call) ExpectBye() *sip.Request { c.t.Helper(); return c.ExpectRequest(sip.BYE) }

// ExpectCancel is ExpectRequest(sip.CANCEL).
func (c *Call) ExpectCancel() *sip.Request { c.t.Helper(); return c.ExpectRequest(sip.CANCEL) }

// String names the call in failures.
func (c *call) String() string { return fmt.Sprintf("call %s of %s", c.id, c.p.Name) }
