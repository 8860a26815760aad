package sipproxy

import (
	"strconv"
	"strings"
	"time"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// receiver is the Server as its transports know it. Its methods run on reading goroutines.
type receiver struct{ s *Server }

func (v receiver) ServeMessage(m sip.Message, f transport.Flow) {
	if fault := m.Valid(v.s.limits.Message); fault != nil {
		v.s.refuse(m, f, fault)
		return
	}
	switch m := m.(type) {
	case *sip.Request:
		v.s.serveRequest(m, f)
	case *sip.Response:
		if !v.s.txs.MatchResponse(m, f) {
			v.s.relayStateless(m, f)
		}
	}
}

func (v receiver) ServeUnreachable(sent []byte, to transport.Addr, err error) {
	v.s.txs.Unreachable(sent, to, err)
}

// refuse answers a message that is not valid, when it is a request that can be answered. No state is made for it.
func (s *Server) refuse(m sip.Message, f transport.Flow, fault *sip.Fault) {
	s.count.invalid.Add(1)
	req, ok := m.(*sip.Request)
	if !ok || req.Method == sip.ACK {
		return
	}
	via, err := usableVia(req)
	if err != nil {
		return // nobody would know the answer
	}
	res := s.answer(req, fault.Code, fault.Reason)
	for _, tag := range fault.Unsupported {
		res.Add("Unsupported", tag)
	}
	s.sent(s.trs.ReplyFlow(f, via).Send(res, nil))
}

// usableVia is the topmost Via as far as an answer needs it: parameters that cannot be read (RFC 4475 §3.1.2.1) are left out.
func usableVia(req *sip.Request) (sip.Via, error) {
	via, err := req.Via()
	if err == nil {
		return via, nil
	}
	sentBy := req.Get("Via")
	if i := strings.IndexAny(sentBy, ";,"); i >= 0 {
		sentBy = sentBy[:i]
	}
	return sip.ParseVia(sentBy)
}

// reply sends a response past any transaction (§8.2.7).
func (s *Server) reply(req *sip.Request, f transport.Flow, res *sip.Response) {
	via, _ := req.Via()
	s.sent(s.trs.ReplyFlow(f, via).Send(res, nil))
}

// sent counts what could not be sent.
func (s *Server) sent(err error) {
	if err != nil {
		s.count.unsent.Add(1)
	}
}

// serveRequest gives a valid request to its transaction, or opens one and runs the handler.
func (s *Server) serveRequest(m *sip.Request, f transport.Flow) {
	tx, absorbed := s.txs.MatchRequest(m, f)
	if absorbed {
		return
	}
	if m.Method == sip.CANCEL && tx != nil {
		s.serveCancel(m, f, tx)
		return
	}
	if m.Method == sip.ACK && tx == nil && s.acknowledged(m) {
		s.count.acks.Add(1)
		return
	}
	r := new(Request) // and not a literal, which is made on the stack first
	r.Request, r.srv = m, s
	r.Flow = f
	r.Source = f.Remote()
	r.Local = f.Local()
	if err := r.preroute(); err != nil {
		s.refuseRoute(r)
		return
	}
	r.mode = s.accept(r)
	if r.mode == Discard {
		s.count.discarded.Add(1)
		return
	}
	if m.Method == sip.ACK || r.mode == Stateless || m.Method == sip.CANCEL && len(r.Routes) > 0 {
		r.mode = Stateless
		s.count.stateless.Add(1)
		r.run()
		return
	}
	if m.Method == sip.CANCEL {
		s.reply(m, f, s.answer(m, 481, ""))
		return
	}
	s.serveStateful(r)
}

//go:noinline
func (s *Server) refuseRoute(r *Request) {
	s.refuse(r.Request, r.Flow, &sip.Fault{Code: 400, Reason: "Bad Request (malformed Route)", Field: "Route"})
}

func (s *Server) accept(r *Request) Mode {
	if s.Accept == nil {
		return Stateful
	}
	return s.Accept(r)
}

// serveStateful opens the server transaction and starts the handler, within the limits.
func (s *Server) serveStateful(r *Request) {
	if s.draining.Load() && !r.InDialog() {
		s.count.drained.Add(1)
		s.overload(r)
		return
	}
	if !s.insert(r) {
		s.count.overLimit.Add(1)
		s.overload(r)
		return
	}
	r.mu.Lock() // a CANCEL may find the transaction at once
	tx, err := s.txs.NewServer(r.Request, r.Flow, (*serverUser)(r))
	r.tx = tx
	r.mu.Unlock()
	switch {
	case err == transaction.ErrExists: // another reader was first
		s.remove(r)
	case err != nil:
		s.remove(r)
		s.count.overLimit.Add(1)
		r.tx = nil
		s.overload(r)
	default:
		s.count.requests.Add(1)
		r.run()
	}
}

// overload answers 503 with Retry-After, without state.
func (s *Server) overload(r *Request) {
	res := s.answer(r.Request, 503, "")
	res.Set("Retry-After", strconv.Itoa(max(1, int(s.limits.RetryAfter/time.Second))))
	s.reply(r.Request, r.Flow, res)
}

// serveCancel answers a CANCEL that matches a transaction, and cancels it when it is an INVITE (§9.2, §16.10).
func (s *Server) serveCancel(m *sip.Request, f transport.Flow, tx *transaction.Server) {
	own, err := s.txs.NewServer(m, f, discardUser{})
	if err == transaction.ErrExists {
		return
	}
	of := m
	u, _ := tx.User().(*serverUser)
	r := (*Request)(u)
	if r != nil {
		of = r.Request
	}
	res := sip.NewResponse(m, 200, "", s.tag(of))
	if own == nil { // the limit on transactions is no reason to let it ring
		s.reply(m, f, res)
	} else if err := own.Respond(res); err != nil {
		s.count.unsent.Add(1)
	}
	if r != nil && r.Method == sip.INVITE {
		s.count.canceled.Add(1)
		r.cancel(ErrCanceled, reasons(m))
	}
}

// reasons is what a CANCEL says in its Reason fields, of which each protocol may have one (RFC 3326 §2), as the one list that they are (§7.3.1).
func reasons(m *sip.Request) (list string) {
	for v := range m.All("Reason") {
		if list != "" {
			list += ", "
		}
		list += v
	}
	return list
}

// discardUser is the user of transactions whose fate concerns nobody.
type discardUser struct{}

func (discardUser) Unsent(*transaction.Server, error) {}
