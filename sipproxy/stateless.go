package sipproxy

import (
	"context"
	"log/slog"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// forwardStateless is Forward without state (§16.11): one target, no responses, and every choice a function of the request. It
// returns nil, or the response that refuses the request; nobody answers an ACK.
func (r *Request) forwardStateless(_ context.Context, targets []Target) *sip.Response {
	refuse := r.refusal(1)
	if refuse == nil {
		refuse = r.sendStateless(targets)
	}
	if refuse == nil {
		return nil
	}
	r.srv.count.statelessRefused.Add(1)
	if r.Method == sip.ACK {
		return nil
	}
	return refuse
}

func (r *Request) sendStateless(targets []Target) *sip.Response {
	b := &Branch{Of: r}
	if len(targets) > 0 {
		b.Target = targets[0]
	}
	b.try()
	return b.refused
}

// relayStateless forwards a response that belongs to no transaction of ours, when it answers what we forwarded without state (§16.11).
func (s *Server) relayStateless(res *sip.Response, f transport.Flow) {
	top, err := res.Via()
	if err != nil || !s.trs.Wrote(f, top) {
		s.count.strayResponses.Add(1)
		return
	}
	mac, ours := strings.CutPrefix(top.Branch(), statelessCookie)
	res.PopVia()
	next, err := res.Via()
	if !ours || err != nil {
		s.count.strayResponses.Add(1)
		return
	}
	mac, _, _ = strings.Cut(mac, ".")
	n, _, _ := res.CSeq()
	var own [16]byte
	if mac != string(appendHex64(own[:0], s.statelessMAC(next, res.CallID(), res.FromTag(), n))) {
		s.count.strayResponses.Add(1)
		return
	}
	back, err := s.trs.ViaFlow(hinted(top, next), f)
	if err == nil {
		err = back.Send(res, nil)
	}
	if err != nil {
		s.count.unsent.Add(1)
		s.log().Debug("response not forwarded", slog.String("call-id", res.CallID()), slog.Any("error", err))
	}
}
