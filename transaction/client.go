package transaction

import (
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A ClientUser is the TU of a client transaction. Methods run on the goroutine that caused them
// (reader, wheel, transport) without any lock of this package held,
// must not block, and may call back into the package. The first call may come before Request has returned.
type ClientUser interface {
	// Response gets every response to pass up: all 1xx, one final, and for an INVITE every further 2xx (RFC 6026).
	Response(c *Client, res *sip.Response, f transport.Flow)
	// Ended: no final response came or will: ErrTimeout, or an error wrapping ErrTransport. At most once, never after a final.
	Ended(c *Client, err error)
}

// A Client is a client transaction.
type Client struct {
	core
	hash   uint64
	method sip.Method
	branch string
	req    *sip.Request // nil once finished
	user   ClientUser   // nil: abandoned
	ack    []byte       // kept in Completed
	flow   transport.Flow
	reason string // for the CANCEL
}

// Request starts a client transaction: req's topmost Via carries a unique branch. The request is sent on f at once.
// The layer keeps req for retransmission, ACK and CANCEL; the caller no longer edits it.
// An immediate send failure is returned (wrapping ErrTransport), and no transaction exists. Other errors:
// ErrExists, ErrLimit, ErrTerminated after Close, and that of a Via that cannot be read.
func (l *Layer) Request(req *sip.Request, f transport.Flow, u ClientUser) (*Client, error) {
	if err := l.reserve(&l.clients, l.maxClients); err != nil {
		return nil, err
	}
	return l.request(req, f, u)
}

// request opens a transaction whose place is reserved.
func (l *Layer) request(req *sip.Request, f transport.Flow, u ClientUser) (*Client, error) {
	if _, err := req.Via(); err != nil {
		l.clients.Add(-1)
		return nil, err
	}
	c := &Client{branch: req.Branch(), method: methodName(req.Method), flow: f, req: req, user: u}
	c.layer = l
	c.hash = l.clientHash(c.branch)
	c.m.reliable = l.net.reliable(f)
	c.m.sink = c.m.reliable
	now := l.Now()

	s := l.shard(c.hash)
	s.Lock()
	if s.client(c.hash, c.branch, c.method) != nil {
		s.Unlock()
		l.clients.Add(-1)
		return nil, ErrExists
	}
	s.clients.insert(c.hash, c)
	c.start(now)
	c.rearm(c, now)
	s.Unlock()

	if err := l.net.send(f, req, c.asSink()); err != nil {
		return c.startFailed(err)
	}
	return c, nil
}

// startFailed undoes Request, unless a response was there before the error.
func (c *Client) startFailed(err error) (*Client, error) {
	now := c.layer.Now()
	s := c.layer.shard(c.hash)
	s.Lock()
	if c.m.state != calling && c.m.state != trying {
		s.Unlock()
		return c, nil
	}
	w := c.settle(s, now, c.transportError())
	s.Unlock()
	w.user = nil
	w.do(c, nil, transport.Flow{}, err)
	return nil, transportError(err)
}

// client finds a transaction under the lock. One copy of the code for all who look.
//
//go:noinline
func (s *shard) client(hash uint64, branch string, m sip.Method) *Client {
	for c, i := s.clients.seek(hash, hash); c != nil; c, i = s.clients.seek(hash, i) {
		if c.branch == branch && c.method == m {
			return c
		}
	}
	return nil
}

// findClient looks up by the key of §17.1.3: branch and CSeq method.
func (l *Layer) findClient(branch string, m sip.Method) *Client {
	hash := l.clientHash(branch)
	s := l.shard(hash)
	s.Lock()
	defer s.Unlock()
	return s.client(hash, branch, m)
}

// MatchResponse gives a response to its client transaction. false: none matches, or the sent-by of its
// topmost Via is not ours (§18.1.2); the caller may forward it statelessly or drop it.
func (l *Layer) MatchResponse(res *sip.Response, f transport.Flow) bool {
	via, err := res.Via()
	if err != nil {
		return false
	}
	_, method, err := res.CSeq()
	if err != nil {
		return false
	}
	branch := res.Branch()
	hash := l.clientHash(branch)
	s := l.shard(hash)
	s.Lock()
	c := s.client(hash, branch, method)
	if c == nil || !l.net.wrote(c.flow, via.Host, via.Port) {
		s.count.stray++
		s.Unlock()
		return false
	}
	now := l.Now()
	act := c.response(now, res.Code)
	if !act.has(actPass) {
		s.count.absorbed++
	}
	if act.has(actAck) && c.ack == nil {
		c.ack = newACK(c.req, res)
	}
	w := c.settle(s, now, act)
	s.Unlock()
	w.do(c, res, f, nil)
	return true
}

// Cancel asks for a CANCEL: sent now when a 1xx was received, at the first 1xx
// otherwise, never after a final (§9.1) and never for a request other than INVITE. reason is the value of a Reason
// field (RFC 3326), "" for none. When no final follows within 64*T1 of the CANCEL the transaction ends with ErrTimeout. Idempotent.
func (c *Client) Cancel(reason string) {
	if c.method != sip.INVITE {
		return
	}
	now := c.layer.Now()
	s := c.layer.shard(c.hash)
	s.Lock()
	if !c.m.cancel {
		c.reason = reason
	}
	w := c.settle(s, now, (*inviteClient)(&c.m).cancelled(now, &c.layer.timers))
	s.Unlock()
	w.do(c, nil, transport.Flow{}, nil)
}

// Abandon forgets the user: no further calls to it, but one that is on its way. An INVITE goes on by itself (its finals
// want an ACK); others end here: nobody is left who wants their answer.
func (c *Client) Abandon() {
	s := c.layer.shard(c.hash)
	s.Lock()
	c.user = nil
	if c.method == sip.INVITE || c.m.state == terminated {
		s.Unlock()
		return
	}
	w := c.settle(s, 0, c.m.end(0))
	s.Unlock()
	w.do(c, nil, transport.Flow{}, nil)
}

// Request is the request, nil once the transaction has its final response or ended.
func (c *Client) Request() *sip.Request {
	s := c.layer.shard(c.hash)
	s.Lock()
	defer s.Unlock()
	return c.req
}

// Flow is the flow the request went out by.
func (c *Client) Flow() transport.Flow { return c.flow }

// expired is the wheel's call.
func (c *Client) expired(now Instant) {
	s := c.layer.shard(c.hash)
	s.Lock()
	if !c.due(now) {
		s.Unlock()
		return
	}
	w := c.settle(s, now, c.timeout(now))
	s.Unlock()
	w.do(c, nil, transport.Flow{}, nil)
}

// transportFailed is what the transport found out later.
func (c *Client) transportFailed(err error) {
	now := c.layer.Now()
	s := c.layer.shard(c.hash)
	s.Lock()
	w := c.settle(s, now, c.transportError())
	s.Unlock()
	w.do(c, nil, transport.Flow{}, err)
}

// A clientSink keeps SendFailed out of the methods of Client.
type clientSink Client

func (c *clientSink) SendFailed(err error) { (*Client)(c).transportFailed(err) }

// asSink is nil for UDP, whose errors come by Unreachable.
func (c *Client) asSink() transport.Sink {
	if !c.m.reliable {
		return nil
	}
	return (*clientSink)(c)
}

func (c *Client) forget() {
	if c.m.reliable {
		c.layer.net.forget(c.flow, (*clientSink)(c))
	}
}

// ---- the machine, whichever it is

func (c *Client) start(now Instant) {
	if c.method == sip.INVITE {
		(*inviteClient)(&c.m).start(now, &c.layer.timers)
		return
	}
	(*nonInviteClient)(&c.m).start(now, &c.layer.timers)
}

func (c *Client) response(now Instant, code int) action {
	if c.method == sip.INVITE {
		return (*inviteClient)(&c.m).response(now, code, &c.layer.timers)
	}
	return (*nonInviteClient)(&c.m).response(now, code, &c.layer.timers)
}

func (c *Client) timeout(now Instant) action {
	if c.method == sip.INVITE {
		return (*inviteClient)(&c.m).timeout(now, &c.layer.timers)
	}
	return (*nonInviteClient)(&c.m).timeout(now, &c.layer.timers)
}

func (c *Client) transportError() action {
	if c.method == sip.INVITE {
		return (*inviteClient)(&c.m).transportError()
	}
	return (*nonInviteClient)(&c.m).transportError()
}

// ---- actions

// clientWork is what remains to be done when the lock is given up.
type clientWork struct {
	act    action
	req    *sip.Request
	ack    []byte
	user   ClientUser
	reason string
	forget bool
}

// settle brings everything in line with the machine's new state, under the lock.
func (c *Client) settle(s *shard, now Instant, act action) clientWork {
	w := clientWork{act: act, req: c.req, ack: c.ack, user: c.user, reason: c.reason}
	if act.has(actResend) {
		s.count.retransmitted++
	}
	if act.has(actTimeout) {
		s.count.timedOut++
	}
	if c.req != nil && c.m.state >= completed {
		c.release()
		w.forget, c.m.sink = c.m.sink, false
	}
	if act.has(actEnd) {
		s.clients.remove(c.hash, c)
		c.layer.clients.Add(-1)
	}
	c.rearm(c, now)
	return w
}

// release lets go what a finished transaction does not need. Only an INVITE in
// Accepted still has something to tell its user.
func (c *Client) release() {
	c.req, c.reason = nil, ""
	if c.m.state != accepted {
		c.user = nil
	}
	if c.m.state != terminated {
		c.branch = strings.Clone(c.branch) // not to hold the text of the request
	}
}

func (w *clientWork) do(c *Client, res *sip.Response, f transport.Flow, cause error) {
	l := c.layer
	if w.forget {
		l.net.forget(c.flow, (*clientSink)(c))
	}
	if w.act.has(actResend) {
		if err := l.net.send(c.flow, w.req, c.asSink()); err != nil {
			c.transportFailed(err)
		}
	}
	if w.act.has(actAck) {
		err := l.net.sendRaw(c.flow, w.ack, nil)
		if err != nil && c.m.reliable {
			err = l.net.sendRaw(l.net.again(c.flow), w.ack, nil)
		}
		if err != nil {
			c.transportFailed(err)
		}
	}
	if w.act.has(actCancel) {
		l.cancel(w.req, c.flow, w.reason)
	}
	if w.user == nil {
		return
	}
	switch {
	case w.act.has(actPass):
		w.user.Response(c, res, f)
	case w.act.has(actTimeout):
		w.user.Ended(c, ErrTimeout)
	case w.act.has(actFail):
		w.user.Ended(c, transportError(cause))
	}
}

// cancel sends a CANCEL in a transaction of its own (§9.1), beyond the limit:
// it makes an end of what is there. A connection that broke meanwhile is made anew, since the phone rings all the same. That it fails is
// of no interest: the INVITE then ends by time.
func (l *Layer) cancel(req *sip.Request, f transport.Flow, reason string) {
	l.clients.Add(1)
	_, _ = l.request(newCancel(req, reason), l.net.again(f), nil)
}
