package transaction

import (
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// A ServerUser is the TU of a server transaction. Methods run on the goroutine that caused them
// without any lock of this package held, must not block, and may call back into the package.
type ServerUser interface {
	// Unsent: a response could not be delivered, as far as that can be known: ErrTimeout when no ACK came for the
	// final response of an INVITE (Timer H; for a 2xx given to RespondReliably 64*T1), or an error
	// wrapping ErrTransport. An error that Respond returned is not told again.
	Unsent(s *Server, err error)
}

// A Server is a server transaction.
type Server struct {
	core
	hash   uint64
	method sip.Method
	req    *sip.Request // nil after the final response
	user   ServerUser   // nil when there is nothing more to tell
	kept   []byte       // the printed last response; of a final one, the text of key lies behind it
	reply  transport.Flow
	key    serverKey
	flow   transport.Flow
}

// NewServer opens a server transaction. ErrExists: another goroutine was first, the request is a copy, which
// is absorbed as MatchRequest does it; ErrLimit; ErrTerminated after Close; the error of a Via that cannot be read. u may be nil.
func (l *Layer) NewServer(req *sip.Request, f transport.Flow, u ServerUser) (*Server, error) {
	var q lookup
	if err := q.read(l, req); err != nil {
		return nil, err
	}
	if err := l.reserve(&l.servers, l.maxServers); err != nil {
		return nil, err
	}
	t := new(Server) // and not a literal, which is made on the stack first
	t.key = newServerKey(&q)
	t.method = methodName(req.Method)
	t.flow = f
	t.reply = l.net.replyFlow(f, q.via)
	t.req, t.user, t.layer = req, u, l
	t.hash = q.hash
	t.m.reliable = l.net.reliable(t.reply)
	t.start()

	s := l.shard(q.hash)
	s.Lock()
	if other := s.server(&q, t.method); other != nil {
		return nil, l.exists(s, other)
	}
	s.servers.insert(q.hash, t)
	s.Unlock()
	return t, nil
}

// exists absorbs a copy whose transaction was made meanwhile. It gives up the lock.
//
//go:noinline
func (l *Layer) exists(s *shard, other *Server) error {
	w := other.copied(s)
	s.Unlock()
	l.servers.Add(-1)
	w.do(other)
	return ErrExists
}

// server finds the transaction of a request by §17.2.3; method is that of the transaction looked for. One copy of the code for all who look.
//
//go:noinline
func (s *shard) server(q *lookup, method sip.Method) *Server {
	for t, i := s.servers.seek(q.hash, q.hash); t != nil; t, i = s.servers.seek(q.hash, i) {
		if t.method == method && t.key.matches(q) {
			return t
		}
	}
	return nil
}

// cancelled finds what a CANCEL is for: §9.2 takes any method. It is no copy of
// a CANCEL, so what has its key is what it is for.
func (s *shard) cancelled(q *lookup) *Server {
	for t, i := s.servers.seek(q.hash, q.hash); t != nil; t, i = s.servers.seek(q.hash, i) {
		if t.key.matches(q) {
			return t
		}
	}
	return nil
}

// MatchRequest looks a received request up (§17.2.3).
//   - absorbed: a copy (answered from the transaction) or an ACK to a non-2xx: nothing more to do;
//   - CANCEL: tx is the INVITE (or other) transaction it is for, nil when there is none; a copy of a CANCEL is absorbed;
//   - ACK not absorbed: it acknowledges a 2xx (or nothing of ours): to the TU; tx is set when the 2xx is one that
//     this layer sends until its ACK (RespondReliably), or the ACK has the branch of an INVITE answered with 2xx;
//   - else a new request: the TU decides whether to call NewServer.
func (l *Layer) MatchRequest(req *sip.Request, f transport.Flow) (tx *Server, absorbed bool) {
	var q lookup
	if q.read(l, req) != nil {
		return nil, false
	}
	if req.Method == sip.ACK {
		return l.matchACK(&q)
	}
	s := l.shard(q.hash)
	s.Lock()
	t := s.server(&q, req.Method)
	if t == nil {
		if req.Method == sip.CANCEL {
			tx = s.cancelled(&q)
		}
		s.Unlock()
		return tx, false
	}
	w := t.copied(s)
	s.Unlock()
	w.do(t)
	return t, true
}

func (l *Layer) matchACK(q *lookup) (*Server, bool) {
	s := l.shard(q.hash)
	s.Lock()
	t := s.server(q, sip.INVITE)
	if t != nil && t.m.state != accepted {
		now := l.Now()
		act := (*inviteServer)(&t.m).ack(now, &l.timers)
		if t.m.state == confirmed {
			t.user = nil // timer H has no more to tell
		}
		s.count.absorbed++
		w := t.settle(s, now, act)
		s.Unlock()
		w.do(t)
		return t, true
	}
	s.Unlock()
	if w := l.waiting.acknowledge(l, q.req); w != nil {
		return w, false
	}
	if t == nil {
		s.Lock()
		s.count.stray++
		s.Unlock()
	}
	return t, false
}

// copied absorbs a copy of the request, under the lock.
func (t *Server) copied(s *shard) serverWork {
	s.count.absorbed++
	act := t.request()
	if len(t.kept) == 0 {
		act = 0 // nothing was sent yet
	}
	return t.settle(s, 0, act) // the deadline is what it was: now does not matter
}

// Respond sends a response by the machine's rules: any number of provisional ones, then one final (a 2xx to an INVITE may be
// sent again and again while Accepted, RFC 6026). ErrTerminated when the state forbids it; an immediate failure to send is
// returned, wrapping ErrTransport, and the transaction goes on. The layer takes res over.
// After a final it keeps the printed response only where the RFC wants it resent, and releases the request.
func (t *Server) Respond(res *sip.Response) error { return t.answer(res.Code, res) }

// Trying is Respond with a 100 that is made of the request, without a message in between.
func (t *Server) Trying() error { return t.answer(100, nil) }

func (t *Server) answer(code int, res *sip.Response) error {
	l := t.layer
	now := l.Now()
	s := l.shard(t.hash)
	s.Lock()
	act := t.respond(now, code)
	if act == 0 {
		s.Unlock()
		return ErrTerminated
	}
	if res == nil {
		t.kept = sip.AppendTrying(make([]byte, 0, sip.TryingLen(t.req)), t.req)
	} else {
		t.keep(res)
	}
	w := t.settle(s, now, act)
	w.res = res
	s.Unlock()
	return w.send(t)
}

// keep stores what a copy of the request will be answered with, and after a final releases the rest.
func (t *Server) keep(res *sip.Response) {
	if t.m.state == trying || t.m.state == proceeding {
		// Printed, not as it is: it would hold the text it came in and an index of it for as long as the phone rings.
		t.kept = res.AppendTo(make([]byte, 0, res.Len()))
		return
	}
	if t.m.code != 0 {
		return // a further 2xx
	}
	t.m.code = uint16(res.Code)
	t.req, t.kept = nil, nil
	if t.key.old != nil {
		t.key.old.replyTag = strings.Clone(res.ToTag())
	}
	switch t.m.state {
	case accepted:
		t.user = nil
		t.key.own(make([]byte, 0, t.key.size()))
	case completed:
		t.kept = res.AppendTo(make([]byte, 0, res.Len()+t.key.size()))
		t.key.own(t.kept)
		if t.method != sip.INVITE {
			t.user = nil
		}
	}
}

// Request is the request, nil after the final response.
func (t *Server) Request() *sip.Request {
	s := t.layer.shard(t.hash)
	s.Lock()
	defer s.Unlock()
	return t.req
}

// Flow is the flow the request came by.
func (t *Server) Flow() transport.Flow { return t.flow }

// Final is the final code sent, 0 before.
func (t *Server) Final() int {
	s := t.layer.shard(t.hash)
	s.Lock()
	defer s.Unlock()
	return int(t.m.code)
}

// expired is the wheel's call.
func (t *Server) expired(now Instant) {
	s := t.layer.shard(t.hash)
	s.Lock()
	if !t.due(now) {
		s.Unlock()
		return
	}
	w := t.settle(s, now, t.timeout(now))
	s.Unlock()
	w.do(t)
}

// transportFailed is what the transport found out later.
func (t *Server) transportFailed(err error) {
	s := t.layer.shard(t.hash)
	s.Lock()
	act := t.transportError()
	user := t.user
	s.Unlock()
	if act.has(actFail) && user != nil {
		user.Unsent(t, transportError(err))
	}
}

// A serverSink keeps SendFailed out of the methods of Server.
type serverSink Server

func (t *serverSink) SendFailed(err error) { (*Server)(t).transportFailed(err) }

func (t *Server) forget() {
	if t.m.reliable {
		t.layer.net.forget(t.reply, (*serverSink)(t))
	}
}

// ---- the machine, whichever it is

func (t *Server) start() {
	if t.method == sip.INVITE {
		(*inviteServer)(&t.m).start()
		return
	}
	(*nonInviteServer)(&t.m).start()
}

func (t *Server) request() action {
	if t.method == sip.INVITE {
		return (*inviteServer)(&t.m).request()
	}
	return (*nonInviteServer)(&t.m).request()
}

func (t *Server) respond(now Instant, code int) action {
	if t.method == sip.INVITE {
		return (*inviteServer)(&t.m).respond(now, code, &t.layer.timers)
	}
	return (*nonInviteServer)(&t.m).respond(now, code, &t.layer.timers)
}

func (t *Server) timeout(now Instant) action {
	if t.method == sip.INVITE {
		return (*inviteServer)(&t.m).timeout(now, &t.layer.timers)
	}
	return (*nonInviteServer)(&t.m).timeout(now, &t.layer.timers)
}

func (t *Server) transportError() action {
	if t.method == sip.INVITE {
		return (*inviteServer)(&t.m).transportError()
	}
	return (*nonInviteServer)(&t.m).transportError()
}

// ---- actions

// serverWork is what remains to be done when the lock is given up.
type serverWork struct {
	act    action
	res    *sip.Response // to send
	raw    []byte        // or this
	user   ServerUser
	sink   bool // tell us when it breaks
	forget bool
}

// settle brings everything in line with the machine's new state, under the lock.
func (t *Server) settle(s *shard, now Instant, act action) serverWork {
	w := serverWork{act: act, raw: t.kept, user: t.user}
	if act.has(actResend) {
		s.count.retransmitted++
	}
	if act.has(actTimeout) {
		s.count.timedOut++
	}
	// On a connection the final response to an INVITE is the one thing whose
	// loss the user hears of while the transaction lives.
	if act.has(actSend) && t.m.reliable && t.m.state == completed {
		w.sink, t.m.sink = true, true
	}
	if act.has(actEnd) {
		s.servers.remove(t.hash, t)
		t.layer.servers.Add(-1)
		t.user = nil
		w.forget, t.m.sink = t.m.sink, false
	}
	t.rearm(t, now)
	return w
}

// send sends the response.
func (w *serverWork) send(t *Server) error {
	var sink transport.Sink
	if w.sink {
		sink = (*serverSink)(t)
	}
	var err error
	if len(w.raw) > 0 {
		err = t.layer.net.sendRaw(t.reply, w.raw, sink)
	} else {
		err = t.layer.net.send(t.reply, w.res, sink)
	}
	if err != nil {
		return transportError(err)
	}
	return nil
}

func (w *serverWork) do(t *Server) {
	if w.forget {
		t.forget()
	}
	if w.act.has(actResend) {
		if err := w.send(t); err != nil && w.user != nil {
			w.user.Unsent(t, err)
		}
	}
	if w.act.has(actTimeout) && w.user != nil {
		w.user.Unsent(t, ErrTimeout)
	}
}
