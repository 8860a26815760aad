package siptest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
)

// A Transaction is a request of a phone and what comes back. Copies of responses are absorbed; a final to an INVITE that is
// no 2xx is acknowledged by the phone itself.
type Transaction struct {
	*transaction
	t T
}

// transaction is what a Transaction shares with the goroutines of its phone; guarded by p.mu beside the queue and channels.
type transaction struct {
	p         *Phone
	req       *sip.Request
	text      []byte
	hop       hop
	call      *call // nil outside dialogs
	responses *queue[*sip.Response]
	again     *resend
	seen      []string      // provisional responses passed up, to absorb copies
	early     chan struct{} // closed at the first response
	final     *sip.Response // the first
	ack       []byte        // of a final that is no 2xx
	why       string        // why no final will come
	sure      []*call       // dialogs of the 2xx responses
	success   *sip.Response // what Ack acknowledges
	tried     bool          // Authorize was asked
}

// Request sends a request outside any dialog. edit may change it before it leaves.
func (p *Phone) Request(t T, m sip.Method, uri string, edit ...func(*sip.Request)) *Transaction {
	t.Helper()
	d := p.newDialog(t, uri)
	return p.start(t, d, m, nil, edit)
}

// newDialog makes what a request outside dialogs needs of one.
func (p *Phone) newDialog(t T, uri string) *dialog {
	t.Helper()
	u, err := sip.ParseURI(uri)
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &dialog{
		id:     fmt.Sprintf("%s-%d@%s", p.Name, p.next(), p.at.Addr()),
		local:  fmt.Sprintf("<%s>;tag=%s-%d", p.AOR, p.Name, p.next()),
		remote: "<" + u.String() + ">", target: u, routes: slices.Clone(p.Route),
	}
}

// start sends a request of a dialog, or what is none yet.
func (p *Phone) start(t T, d *dialog, m sip.Method, c *call, edit []func(*sip.Request)) *Transaction {
	t.Helper()
	p.mu.Lock()
	was := *d
	p.mu.Unlock()
	uri, routes := was.way()
	h, err := p.hopFor(&was, uri, routes)
	if err != nil {
		t.Fatalf("%s: %s: no way to send it: %v", p.Name, m, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.seq++
	req := p.compose(m, uri, routes, d, d.seq, h)
	p.finish(req, edit)
	return &Transaction{p.launch(req, h, c), t}
}

// hopFor follows the route set; outside dialogs an outbound proxy comes first.
func (p *Phone) hopFor(d *dialog, uri sip.URI, routes []string) (hop, error) {
	if !d.made && p.Proxy != "" {
		u, err := sip.ParseURI("sip:" + p.Proxy)
		if err != nil {
			return hop{}, err
		}
		return p.hopTo(u)
	}
	if len(routes) > 0 && !d.strict() {
		n, err := sip.ParseNameAddr(routes[0])
		if err != nil {
			return hop{}, err
		}
		return p.hopTo(n.URI)
	}
	return p.hopTo(uri)
}

// compose writes a request; p.mu is held.
func (p *Phone) compose(m sip.Method, uri sip.URI, routes []string, d *dialog, seq uint32, h hop) *sip.Request {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", m, uri.String())
	fmt.Fprintf(&b, "Via: SIP/2.0/%s %s;branch=%s;rport\r\n", viaName(h.proto), p.at, p.branch())
	fmt.Fprintf(&b, "Max-Forwards: 70\r\n")
	for _, r := range routes {
		fmt.Fprintf(&b, "Route: %s\r\n", r)
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", d.local, d.remote, d.id, seq, m)
	if m == sip.INVITE || m == sip.UPDATE || m == sip.SUBSCRIBE || m == sip.REFER || m == sip.REGISTER {
		fmt.Fprintf(&b, "Contact: <%s>\r\n", p.Contact())
	}
	body := ""
	if m == sip.INVITE {
		body = p.sdp()
		fmt.Fprintf(&b, "Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return p.made(b.String())
}

// made parses a message that the phone itself wrote.
func (p *Phone) made(text string) *sip.Request {
	req, err := sip.ParseRequest(text)
	if err != nil {
		p.T.Errorf("%s: wrote a bad request: %v\n%s", p.Name, err, text)
		panic(err)
	}
	return req
}

func (p *Phone) finish(req *sip.Request, edit []func(*sip.Request)) {
	if p.Edit != nil {
		p.Edit(req)
	}
	for _, f := range edit {
		f(req)
	}
}

func clientKey(h *sip.Header) string {
	v, _ := h.Via() // checked elsewhere
	_, m, _ := h.CSeq()
	return v.Branch() + " " + string(m)
}

// launch opens a client transaction; p.mu is held.
func (p *Phone) launch(req *sip.Request, h hop, c *call) *transaction {
	tx := &transaction{p: p, call: c, responses: newQueue[*sip.Response](), early: make(chan struct{})}
	if c != nil && c.tx == nil && c.server == nil {
		c.tx = tx
	}
	tx.send(req, h)
	return tx
}

func (tx *transaction) send(req *sip.Request, h hop) {
	p := tx.p
	tx.req, tx.text, tx.hop = req, req.AppendTo(nil), h
	p.clients[clientKey(&req.Header)] = tx
	p.transmit(h, tx.text)
	wait, most := time.Duration(0), time.Duration(0)
	if !h.reliable() {
		wait = p.T1
		if req.Method != sip.INVITE {
			most = p.T2
		}
	}
	tx.again = p.repeat(wait, most, func() { p.transmit(h, tx.text) }, func() {
		tx.end(fmt.Sprintf("no answer in %v", 64*p.T1))
	})
}

// end: no final response will come. p.mu is held.
func (tx *transaction) end(why string) {
	tx.again.stop()
	if tx.why == "" {
		tx.why = why
		tx.responses.put(nil)
	}
}

// response is the way in of responses; p.mu is held.
func (p *Phone) response(res *sip.Response, from hop) {
	tx := p.asked(res)
	if tx == nil {
		if !p.sentRaw {
			p.failf("a response to no request of ours, from %s:\n%s", from.addr, res)
		}
		p.odd.put(res.String())
		return
	}
	p.checkResponse(tx, res)
	first := tx.final == nil
	if first && len(tx.seen) == 0 {
		close(tx.early)
	}
	switch {
	case res.IsProvisional():
		tx.provisional(res, from)
	case tx.req.Method == sip.INVITE && res.IsSuccess():
		tx.succeeded(res, from)
	case first:
		tx.finished(res)
	case res.String() != tx.final.String():
		p.failf("a second final response to %s:\n%s\nafter:\n%s", tx.req.Method, res, tx.final)
	case from.reliable():
		p.failf("a copy of a final response to %s over a reliable transport:\n%s", tx.req.Method, res)
	case tx.ack != nil:
		p.transmit(tx.hop, tx.ack)
	}
}

// asked finds the request that a response answers, also behind a Via that should not be there.
func (p *Phone) asked(res *sip.Response) *transaction {
	_, m, _ := res.CSeq()
	for v := range res.Vias() {
		if tx := p.clients[v.Branch()+" "+string(m)]; tx != nil {
			return tx
		}
	}
	return nil
}

func (tx *transaction) provisional(res *sip.Response, from hop) {
	text := res.String()
	switch {
	case slices.Contains(tx.seen, text) && !from.reliable():
		return
	case tx.final != nil && from.reliable():
		tx.p.failf("a provisional response to %s after the final one:\n%s", tx.req.Method, res)
		return
	case tx.final != nil:
		return // overtaken on the way
	}
	tx.seen = append(tx.seen, text)
	if tx.req.Method == sip.INVITE {
		tx.again.stop()
		if tx.call != nil && res.ToTag() != "" {
			tx.call.learn(res, false)
		}
	}
	tx.responses.put(res)
}

// finished takes the first final, which is no 2xx to an INVITE.
func (tx *transaction) finished(res *sip.Response) {
	tx.again.stop()
	tx.final = res
	if tx.req.Method == sip.INVITE {
		tx.ack = tx.negativeAck(res)
		tx.p.transmit(tx.hop, tx.ack)
		if tx.success != nil {
			tx.p.failf("a final response to INVITE after a 2xx:\n%s", res)
		}
	}
	if res.Is(401, 407) && tx.authorize(res) {
		return
	}
	tx.responses.put(res)
}

// succeeded takes a 2xx to an INVITE: the first, a copy, or one from another branch of a fork.
func (tx *transaction) succeeded(res *sip.Response, from hop) {
	tx.again.stop()
	if tx.final != nil && !tx.final.IsSuccess() {
		tx.p.failf("a 2xx to INVITE after its final response %d:\n%s", tx.final.Code, res)
		return
	}
	for _, c := range tx.sure {
		if c.remoteTag() == res.ToTag() {
			tx.copied(c, res)
			return
		}
	}
	c := tx.call
	if tx.final != nil {
		c = c.fork()
	}
	c.learn(res, true)
	c.ok[tx] = res
	tx.sure = append(tx.sure, c)
	if tx.final == nil {
		tx.final, tx.success = res, res
		tx.responses.put(res)
		return
	}
	tx.call.forks.put(c)
}

func (tx *transaction) copied(c *call, res *sip.Response) {
	if first := c.ok[tx]; first != nil && first.String() != res.String() {
		tx.p.failf("the copy of a 2xx differs from the first:\n%s\nthe first:\n%s", res, first)
	}
	if a, ok := c.acks[tx]; ok {
		tx.p.transmit(a.hop, a.text)
	}
}

// negativeAck is built by §17.1.1.3.
func (tx *transaction) negativeAck(res *sip.Response) []byte {
	to := res.Get("To")
	return tx.p.sibling(tx.req, sip.ACK, to).AppendTo(nil)
}

// sibling is an ACK or CANCEL: the request with another method, one Via, the same branch and route.
func (p *Phone) sibling(req *sip.Request, m sip.Method, to string) *sip.Request {
	v, _ := req.Via() // ours
	n, _, _ := req.CSeq()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\n", m, req.URI.String(), v.String())
	for r := range req.All("Route") {
		fmt.Fprintf(&b, "Route: %s\r\n", r)
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		req.Get("From"), to, req.CallID(), n, m)
	out := p.made(b.String())
	p.finish(out, nil)
	return out
}

// authorize sends the request again with credentials; the old branch stays known for copies of the challenge.
func (tx *transaction) authorize(res *sip.Response) bool {
	p := tx.p
	if p.Authorize == nil || tx.tried {
		return false
	}
	n, m, _ := tx.req.CSeq()
	req := p.made(string(tx.text))
	v, _ := req.Via()
	v.Params = v.Params.With("branch", p.branch())
	req.ReplaceFirst("Via", v.String())
	req.Set("CSeq", fmt.Sprintf("%d %s", n+1, m))
	if !p.Authorize(req, res) {
		return false
	}
	done := *tx
	p.clients[clientKey(&tx.req.Header)] = &done
	tx.tried, tx.final, tx.ack, tx.seen = true, nil, nil, nil
	tx.early = make(chan struct{})
	if tx.call != nil {
		tx.call.seq = n + 1
	}
	tx.send(req, tx.hop)
	return true
}

// Request is the request as it was sent.
func (tx *Transaction) Request() *sip.Request {
	tx.p.mu.Lock()
	defer tx.p.mu.Unlock()
	return tx.req
}

// Expect waits for the next response, skips 100 unless it is asked for, and fails the test when it has none of the codes.
func (tx *Transaction) Expect(codes ...int) *sip.Response {
	tx.t.Helper()
	for {
		res := tx.wait(fmt.Sprint(codes))
		if res.Is(codes...) {
			return res
		}
		if res.Code != 100 {
			tx.t.Fatalf("%s: %s: expected %v, got %d %s\n%s", tx.p.Name, tx.req.Method, codes, res.Code, res.Reason, res)
			return res
		}
	}
}

// Final waits for the final response, whatever it is.
func (tx *Transaction) Final() *sip.Response {
	tx.t.Helper()
	for {
		if res := tx.wait("a final response"); !res.IsProvisional() {
			return res
		}
	}
}

func (tx *Transaction) wait(what string) *sip.Response {
	tx.t.Helper()
	res, ok := tx.responses.get(tx.p.Wait, tx.p.ctx.Done())
	if res != nil {
		return res
	}
	tx.p.mu.Lock()
	why := tx.why
	tx.p.mu.Unlock()
	if !ok {
		why = fmt.Sprintf("nothing came in %v", tx.p.Wait)
	}
	tx.t.Fatalf("%s: %s: expected %s: %s", tx.p.Name, tx.req.Method, what, why)
	return &sip.Response{} // not reached with testing.T
}

// Nothing waits for d and fails the test when a response comes meanwhile.
func (tx *Transaction) Nothing(d time.Duration) {
	tx.t.Helper()
	if res, ok := tx.responses.get(d, tx.p.ctx.Done()); ok && res != nil {
		tx.t.Fatalf("%s: %s: expected silence, got %d %s", tx.p.Name, tx.req.Method, res.Code, res.Reason)
	}
}

// Cancel cancels an INVITE once a response to it has come (§9.1), and waits for the 200 to the CANCEL. The final response to the
// INVITE is to be expected after that.
func (tx *Transaction) Cancel(edit ...func(*sip.Request)) {
	tx.t.Helper()
	tx.StartCancel(edit...).Expect(200)
}

// StartCancel is Cancel without the wait for the answer to the CANCEL.
func (tx *Transaction) StartCancel(edit ...func(*sip.Request)) *Transaction {
	tx.t.Helper()
	p := tx.p
	p.mu.Lock()
	early := tx.early
	p.mu.Unlock()
	select {
	case <-early:
	case <-p.ctx.Done():
	case <-time.After(p.Wait):
		tx.t.Fatalf("%s: cannot cancel: no response came", p.Name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if tx.final != nil {
		tx.t.Fatalf("%s: cannot cancel: already answered with %d", p.Name, tx.final.Code)
	}
	req := p.sibling(tx.req, sip.CANCEL, tx.req.Get("To"))
	for _, f := range edit {
		f(req)
	}
	return &Transaction{p.launch(req, tx.hop, nil), tx.t}
}
