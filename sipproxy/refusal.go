package sipproxy

import (
	"strings"

	"github.com/sipkit/sipkit/sip"
)

const (
	defaultForwards = 70 // §16.6 step 3
	defaultBreadth  = 60 // RFC 5393 §5.3.3
)

// refusal is the validation that binds forwarding only (§16.3 steps 2 to 5, RFC 5393): nil when the request may go on to n targets.
func (r *Request) refusal(n int) *sip.Response {
	switch {
	case !understood(r.Request.URI.Scheme):
		return r.made(416, errScheme)
	case r.forwards() < 0:
		return r.made(483, sip.ErrLocal)
	case r.looped():
		return r.made(482, sip.ErrLocal)
	case max(1, n) > r.breadth():
		return r.made(440, sip.ErrLocal)
	}
	return r.requirements()
}

// understood reports whether a proxy knows what to do with a URI scheme; tel needs a handler that maps it to a target.
func understood(scheme string) bool {
	return strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips") || strings.EqualFold(scheme, "tel")
}

// requirements refuses option tags that a proxy has to understand (§16.3 step 5); this one knows none. In a CANCEL, and in the ACK of a refusal, they
// say nothing (§8.2.2.3); the ACK of a 2xx has those of its INVITE, which was let through.
func (r *Request) requirements() *sip.Response {
	if r.Method == sip.CANCEL || r.Method == sip.ACK || !r.Has("Proxy-Require") {
		return nil
	}
	var res *sip.Response
	for tag := range r.Values("Proxy-Require") {
		if tag == "" {
			continue
		}
		if res == nil {
			res = r.made(420, sip.ErrLocal)
		}
		res.Add("Unsupported", tag)
	}
	return res
}

// forwards is the Max-Forwards that goes out; below zero the request has to stop here.
func (r *Request) forwards() int {
	n, err := r.MaxForwards()
	if err != nil {
		return defaultForwards // absent; a malformed one was a 400
	}
	return n - 1
}

// breadth is the number of branches the request may still open in all (RFC 5393 §5). What is no number counts as absent.
func (r *Request) breadth() int {
	if n, err := r.MaxBreadth(); err == nil {
		return min(n, defaultBreadth) // §5.3.3: what exceeds our own bound is overwritten
	}
	return defaultBreadth
}

// shareBreadth gives a branch its part of the breadth, which every request that goes out says (RFC 5393 §5.3.3). The parts of the branches in progress never
// exceed what came in; where hooks may still fork, an eighth is kept back for that.
func (b *Branch) shareBreadth() {
	r, f := b.Of, b.fork
	r.mu.Lock()
	n := 1
	if f != nil {
		n = 0
		for _, o := range f.branches {
			if !o.ended && !o.shared {
				n++
			}
		}
		n = max(1, n)
	}
	left := r.breadth() - int(r.spread)
	if len(r.hung().response) > 0 && left > n {
		left -= max(1, left/8)
	}
	share := max(1, left/n)
	b.shared = true
	if !b.ended { // else nobody would give it back
		b.share = int32(share)
		r.spread += b.share
	}
	r.mu.Unlock()
	b.Request.SetMaxBreadth(share)
}

// unshare gives back the breadth of a branch that has its final response. Called with r.mu held.
func (b *Branch) unshare() {
	b.Of.spread -= b.share
	b.share = 0
}

// narrow reports whether the breadth leaves none for a further branch. Called with its mu held.
func (f *fork) narrow() bool {
	r := f.r
	used := int(r.spread)
	for _, b := range f.branches {
		if !b.ended && !b.shared {
			used++
		}
	}
	return used >= r.breadth()
}
