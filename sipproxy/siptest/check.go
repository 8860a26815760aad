package siptest

import (
	"strings"

	"github.com/sipkit/sipkit/sip"
)

// checkResponse looks for what a proxy may do wrong with a response. p.mu is held.
func (p *Phone) checkResponse(tx *transaction, res *sip.Response) {
	bad := func(what string) { p.failf("%s: %s:\n%s\nthe request:\n%s", tx.req.Method, what, res, tx.req) }
	if f := res.Valid(sip.Limits{}); f != nil {
		bad("a malformed response (" + f.Reason + ")")
	}
	ours, _ := tx.req.Via()
	n := 0
	for v, err := range res.Vias() {
		if n++; err != nil || v.HostPort() != ours.HostPort() || v.Branch() != ours.Branch() || v.Transport != ours.Transport {
			bad("a response with a Via that is not ours")
		}
	}
	if n != 1 {
		bad("a response must come with one Via, ours")
	}
	for _, name := range []string{"From", "Call-ID", "CSeq"} {
		if res.Get(name) != tx.req.Get(name) {
			bad(name + " is not that of the request")
		}
	}
	if res.Code > 100 && res.ToTag() == "" {
		bad("a response without a To tag")
	}
	if tag := tx.req.ToTag(); tag != "" && res.ToTag() != tag {
		bad("the To tag was changed")
	}
	if res.Code > 100 && res.Code < 300 && tx.req.Method == sip.INVITE {
		if _, ok := contact(&res.Header); !ok && res.IsSuccess() {
			bad("a 2xx to INVITE without Contact")
		}
	}
}

// checkRequest looks for what a proxy may do wrong with a request.
func (p *Phone) checkRequest(req *sip.Request, from hop) {
	bad := func(what string) { p.failf("%s:\n%s", what, req) }
	if f := req.Valid(sip.Limits{}); f != nil {
		bad("a malformed request (" + f.Reason + ")")
	}
	branches := make(map[string]bool)
	for v, err := range req.Vias() {
		switch {
		case err != nil:
			bad("a malformed Via (" + err.Error() + ")")
		case len(branches) == 0 && !strings.EqualFold(v.Transport, viaName(from.proto)):
			bad("the topmost Via names another transport than the message came by, " + viaName(from.proto))
		case !strings.HasPrefix(v.Branch(), sip.MagicCookie):
			bad("a Via whose branch lacks the magic cookie")
		case branches[v.Branch()+v.HostPort()]:
			bad("two Vias with one branch")
		}
		branches[v.Branch()+v.HostPort()] = true
	}
	if n, err := req.MaxForwards(); err != nil || n < 0 || n > 255 {
		bad("Max-Forwards is missing or out of range")
	}
	if req.FromTag() == "" {
		bad("From without a tag")
	}
	if req.Has("Route") {
		bad("a request reached its end with a Route left on it")
	}
	if req.Method == sip.CANCEL || req.Method == sip.ACK {
		invite := p.servers[serverKey(&req.Header, sip.INVITE)]
		single := req.Method == sip.CANCEL || invite != nil
		if single && len(branches) != 1 && (invite == nil || !sameWay(req, invite.req)) {
			bad("CANCEL, and ACK of a final that is no 2xx, have one Via")
		}
	}
	if req.Method == sip.INVITE {
		if _, ok := contact(&req.Header); !ok {
			bad("an INVITE without Contact")
		}
	}
}

// sameWay reports whether the Vias of req are those of the INVITE it is for, all or the topmost: it came through proxies without state (§16.11).
func sameWay(req, invite *sip.Request) bool {
	var way []string
	for v := range invite.Vias() {
		way = append(way, v.HostPort()+" "+v.Branch())
	}
	n := 0
	for v := range req.Vias() {
		if n >= len(way) || way[n] != v.HostPort()+" "+v.Branch() {
			return false
		}
		n++
	}
	return true
}

// checkSibling compares ACK and CANCEL with the request they are for (§9.1, §17.1.1.3).
func (p *Phone) checkSibling(first, req *sip.Request) {
	bad := func(what string) { p.failf("%s %s:\n%s\nwhich was:\n%s", req.Method, what, req, first) }
	a, _, _ := first.CSeq()
	b, m, _ := req.CSeq()
	switch {
	case a != b || m != req.Method:
		bad("with another CSeq than the request it is for")
	case req.Get("From") != first.Get("From"):
		bad("with another From than the request it is for")
	case req.CallID() != first.CallID():
		bad("with another Call-ID than the request it is for")
	case req.URI.String() != first.URI.String():
		bad("with another Request-URI than the request it is for")
	case req.Method == sip.CANCEL && req.Get("To") != first.Get("To"):
		bad("with another To than the request it is for")
	}
}

// checkInDialog: the Request-URI of a request in a dialog is the contact we gave.
func (p *Phone) checkInDialog(c *call, req *sip.Request) {
	want, err := sip.ParseURI(p.Contact())
	if err == nil && !req.URI.Equal(want) {
		p.failf("a request in a dialog whose Request-URI is not our Contact, %s:\n%s", want.String(), req)
	}
	if _, m, _ := req.CSeq(); m != req.Method {
		p.failf("CSeq names another method, in %s:\n%s", c, req)
	}
}
