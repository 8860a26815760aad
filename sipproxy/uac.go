package sipproxy

import (
	"context"
	"strconv"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transaction"
	"github.com/sipkit/sipkit/transport"
)

// Request sends req as a UAC, for probes, keepalives and the BYE of an operator, and waits for the final response: one received, or one
// made here with Cause set (408 silence, 503 no address or transport error, 487 when ctx ended). Of req, missing Via, Max-Forwards, From, To,
// Call-ID and CSeq are filled in; it is not modified. It is not for INVITEs that succeed: nobody would acknowledge the 2xx. In a
// handler it waits without holding up the reader when ctx is the handler's.
func (s *Server) Request(ctx context.Context, req *sip.Request, to Target) *sip.Response {
	var res *sip.Response
	Block(ctx, func() { res = s.request(ctx, req, to) })
	return res
}

func (s *Server) request(ctx context.Context, req *sip.Request, to Target) *sip.Response {
	req = req.Clone()
	if !to.URI.IsZero() {
		req.SetURI(requestURI(to.URI))
	}
	for i := len(to.Path) - 1; i >= 0; i-- {
		req.Prepend("Route", "<"+to.Path[i].String()+">")
	}
	completeUAC(req)
	if !s.isReady() {
		return uacResponse(req, 503, ErrClosed)
	}
	addrs, err := s.locateUAC(ctx, req, to)
	for _, a := range addrs {
		c := req.Clone()
		var flow transport.Flow
		flow = to.Flow
		if flow.IsZero() {
			if flow, err = s.trs.FlowTo(a, transport.Flow{}); err != nil {
				continue
			}
		}
		host, port := flow.SentBy()
		fillContact(c, host, port)
		s.pushVia(c, flow, []byte(transaction.NewBranch()))
		u := &uacUser{final: make(chan *sip.Response, 1), failed: make(chan error, 1)}
		var tx *transaction.Client
		if tx, err = s.txs.Request(c, flow, u); err != nil {
			continue
		}
		select {
		case res := <-u.final:
			return res
		case err = <-u.failed:
			s.trs.Report(a, false)
		case <-ctx.Done():
			tx.Cancel("")
			tx.Abandon()
			return uacResponse(c, contextCode(ctx), context.Cause(ctx))
		}
	}
	code := 503
	if err == transaction.ErrTimeout {
		code = 408
	}
	if err == nil {
		err = transport.ErrNoAddress
	}
	return uacResponse(req, code, err)
}

func uacResponse(req *sip.Request, code int, cause error) *sip.Response {
	res := sip.NewResponse(req, code, "", "")
	res.Cause = cause
	return res
}

func (s *Server) locateUAC(ctx context.Context, req *sip.Request, to Target) ([]transport.Addr, error) {
	switch {
	case !to.Flow.IsZero():
		return []transport.Addr{to.Flow.Remote()}, nil
	case !to.Next.IsZero():
		return []transport.Addr{to.Next}, nil
	}
	next := req.URI
	for first, err := range req.Routes() {
		if err == nil {
			next = first.URI
		}
		break
	}
	return s.trs.Resolve(ctx, transport.QueryFor(next))
}

// completeUAC fills in what every request needs (§8.1.1).
func completeUAC(req *sip.Request) {
	if !req.Has("Max-Forwards") {
		req.SetMaxForwards(defaultForwards)
	}
	if !req.Has("To") {
		req.Add("To", "<"+req.URI.String()+">")
	}
	if !req.Has("From") {
		req.Add("From", "<sip:sipkit@"+req.URI.Host+">;tag="+transaction.NewTag())
	}
	if !req.Has("Call-ID") {
		req.Add("Call-ID", transaction.NewTag()+transaction.NewTag())
	}
	if !req.Has("CSeq") {
		req.Add("CSeq", "1 "+string(req.Method))
	}
}

// fillContact completes a Contact that names no host: "<sip:keepalive@>" cannot be known before the flow is.
func fillContact(req *sip.Request, host string, port uint16) {
	if req.Method != sip.OPTIONS || req.Has("Contact") {
		return
	}
	if port != 0 {
		host += ":" + strconv.Itoa(int(port))
	}
	req.Add("Contact", "<sip:"+host+">")
}

// uacUser passes the outcome of a client transaction to the goroutine that waits for it.
type uacUser struct {
	final  chan *sip.Response
	failed chan error
}

func (u *uacUser) Response(_ *transaction.Client, res *sip.Response, _ transport.Flow) {
	if res.Code < 200 {
		return
	}
	select {
	case u.final <- res:
	default: // a further 2xx
	}
}

func (u *uacUser) Ended(_ *transaction.Client, err error) { u.failed <- err }
