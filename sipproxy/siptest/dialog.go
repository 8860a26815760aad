package siptest

import (
	"slices"

	"github.com/sipkit/sipkit/sip"
)

// A dialog is the state of §12 as one side sees it, before it exists as well.
type dialog struct {
	id            string // Call-ID
	local, remote string // From and To of our requests, tags included
	seq           uint32 // of our last request
	remoteSeq     uint32 // of the peer's last request, 0: none
	target        sip.URI
	routes        []string
	made          bool // has a remote tag
	confirmed     bool // a 2xx was seen or sent
	ended         bool
}

// strict reports whether the first hop of the route set is a strict router.
func (d *dialog) strict() bool {
	if len(d.routes) == 0 {
		return false
	}
	n, err := sip.ParseNameAddr(d.routes[0])
	return err == nil && !n.URI.Params.Has("lr")
}

// way gives Request-URI and Route of a request (§12.2.1.1).
func (d *dialog) way() (sip.URI, []string) {
	if !d.strict() {
		return d.target, d.routes
	}
	n, _ := sip.ParseNameAddr(d.routes[0]) // strict parsed it
	return n.URI, append(slices.Clone(d.routes[1:]), "<"+d.target.String()+">")
}

func (d *dialog) remoteTag() string { return tagOf(d.remote) }
func (d *dialog) localTag() string  { return tagOf(d.local) }

func tagOf(value string) string {
	n, err := sip.ParseNameAddr(value)
	if err != nil {
		return ""
	}
	return n.Tag()
}

func contact(h *sip.Header) (sip.URI, bool) {
	for c, err := range h.Contacts() {
		return c.URI, err == nil && !c.Star
	}
	return sip.URI{}, false
}

// learn takes tag, target and route set from a response (§12.1.2). The route set is final with the first 2xx; a 2xx in
// the dialog refreshes the target only.
func (d *dialog) learn(res *sip.Response, sure bool) {
	if d.confirmed {
		if u, ok := contact(&res.Header); ok && sure {
			d.target = u
		}
		return
	}
	if d.made && !sure && d.remoteTag() != res.ToTag() {
		return // another early dialog: the first one counts until a 2xx
	}
	d.remote = res.Get("To")
	d.made, d.confirmed = true, sure
	if u, ok := contact(&res.Header); ok {
		d.target = u
	}
	d.routes = slices.Collect(res.Values("Record-Route"))
	slices.Reverse(d.routes)
}

// dialogOf is the dialog that an answer of ours makes (§12.1.1).
func dialogOf(req *sip.Request, tag string) dialog {
	n, _, _ := req.CSeq() // checked
	d := dialog{
		id: req.CallID(), local: req.Get("To") + ";tag=" + tag, remote: req.Get("From"),
		remoteSeq: n, made: true, routes: slices.Collect(req.Values("Record-Route")),
	}
	d.target, _ = contact(&req.Header)
	return d
}
