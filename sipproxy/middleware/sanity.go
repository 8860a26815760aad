package middleware

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// Sanity stops requests that no route should ever see, beyond what the engine refuses by itself (syntax, framing, version, missing
// and doubled fields): scanners are met with silence, and counted in Stats.Silenced of the server; the rest is answered. The zero
// value works. Requests without a name for the caller or the callee, private networks and methods are no concern of it.
type Sanity struct {
	// Scanners are parts of the User-Agent of tools that look for open proxies, in any case. Their requests get no answer,
	// which would only tell them that somebody is there. nil: friendly-scanner, sipcli, sipvicious, sundayddr,
	// VaxSIPUserAgent, pplsip. Empty: none.
	Scanners []string

	MessageBytes int // larger requests: 513; 0: only the limit of the server
	URIBytes     int // longer Request-URIs: 414; 0: only the limit of the server

	// FromTag refuses requests without a tag in From with 400. RFC 3261 §8.1.1.3 wants it, RFC 2543 clients do not send it.
	FromTag bool

	// RouteOptions leaves OPTIONS for the proxy itself to the next handler. Otherwise it is answered with 200 (§11.2) when
	// the Request-URI is this server without a user.
	RouteOptions bool
	Supported    string // told in that answer: option tags of the extensions that the server has, as in "path, gruu"
}

// scanners are the names that tools for finding and guessing SIP accounts are known by.
func scanners() []string {
	return []string{"friendly-scanner", "sipcli", "sipvicious", "sundayddr", "vaxsipuseragent", "pplsip"}
}

// Middleware is a sipproxy.Middleware.
func (s Sanity) Middleware(next sipproxy.Handler) sipproxy.Handler {
	words := s.Scanners
	if words == nil {
		words = scanners()
	}
	known := newAgents(words)
	return sipproxy.HandlerFunc(func(ctx context.Context, r *sipproxy.Request) *sip.Response {
		if known.in(r.Get("User-Agent")) {
			return silence(r)
		}
		if fault := s.fault(r); fault != nil {
			return refusal(r, fault)
		}
		if !s.RouteOptions && keepalive(r) {
			return s.capabilities(r)
		}
		return next.ServeSIP(ctx, r)
	})
}

// capabilities lists what a proxy can do: it takes bodies as they come, and is not the one to say which methods are allowed (§11.2).
func (s *Sanity) capabilities(r *sipproxy.Request) *sip.Response {
	res := r.Reply(200)
	res.Add("Accept", "*/*")
	res.Add("Accept-Encoding", "*")
	res.Add("Accept-Language", "*")
	res.Add("Supported", s.Supported) // empty: none (§20.37)
	return res
}

func (s Sanity) fault(r *sipproxy.Request) *sip.Fault {
	switch {
	case s.MessageBytes > 0 && r.Len() > s.MessageBytes:
		return &sip.Fault{Code: 513}
	case s.URIBytes > 0 && len(r.Request.URI.String()) > s.URIBytes:
		return &sip.Fault{Code: 414}
	case s.FromTag && r.FromTag() == "":
		return &sip.Fault{Code: 400, Reason: "Bad Request (no tag in From)"}
	}
	if r.Has("Expires") {
		if _, err := r.Expires(); err != nil {
			return &sip.Fault{Code: 400, Reason: "Bad Request (Expires is no number)"}
		}
	}
	return nil
}

func refusal(r *sipproxy.Request, f *sip.Fault) *sip.Response {
	res := r.Reply(f.Code)
	if res != nil && f.Reason != "" {
		res.Reason = f.Reason
	}
	return res
}

// silence drops the request. An ACK is never answered anyway.
func silence(r *sipproxy.Request) *sip.Response {
	if r.Method == sip.ACK {
		return nil
	}
	return sipproxy.NoReply
}

// keepalive reports OPTIONS that asks this server, not a user behind it, what it can do; peers use it to see whether we are alive.
func keepalive(r *sipproxy.Request) bool {
	return r.Method == sip.OPTIONS && r.URI.User == "" && len(r.Routes) == 0 && r.Server().IsLocal(r.URI)
}

// agents are names that are looked for in User-Agent, whatever the case.
type agents struct {
	words  []string
	starts [4]uint64 // a bit for each byte that one may start with
}

func newAgents(words []string) *agents {
	a := new(agents)
	for c := utf8.RuneSelf; c < 256; c++ {
		a.start(byte(c)) // there are letters beyond ASCII that fold to ASCII ones
	}
	for _, w := range words {
		if w == "" {
			continue
		}
		a.words = append(a.words, w)
		a.start(w[0])
		a.start(w[0] ^ 0x20)
		for c := 0; w[0] >= utf8.RuneSelf && c < 256; c++ {
			a.start(byte(c))
		}
	}
	return a
}

func (a *agents) start(c byte) { a.starts[c>>6] |= 1 << (c & 63) }

func (a *agents) in(agent string) bool {
	for i := range len(agent) {
		if c := agent[i]; a.starts[c>>6]>>(c&63)&1 != 0 && a.at(agent[i:]) {
			return true
		}
	}
	return false
}

func (a *agents) at(s string) bool {
	for _, w := range a.words {
		if len(w) <= len(s) && strings.EqualFold(s[:len(w)], w) {
			return true
		}
	}
	return false
}
