package sipproxy

import (
	"math/bits"
	"strings"

	"github.com/sipkit/sipkit/transport"
)

// loopHash covers what routing decisions are made of (§16.6 step 8, RFC 5393 §4.2). A request that comes back with the same value has looped; a
// changed Request-URI is a spiral.
func (r *Request) loopHash() uint32 {
	if r.loop != 0 {
		return r.loop
	}
	u := &r.Request.URI
	n, _, _ := r.CSeq()
	parts := [...]string{u.Scheme, u.User, u.Password, u.Host, string(u.Params), u.Opaque, r.CallID(), r.FromTag(), "", "", "", ""}
	if r.tx != nil {
		// Without state the branch must also fit the CANCEL and the ACK of the request, which lack these.
		parts[8], parts[9], parts[10] = r.Request.ToTag(), r.Get("Proxy-Require"), r.Get("Proxy-Authorization")
	}
	if r.came == 1 {
		parts[11] = r.Get("Route")
	}
	h := loopSum(r.srv.loopSeed ^ uint64(n)<<16 ^ uint64(u.Port)).add(parts[:])
	if r.came > 1 {
		h = r.addRoutes(h)
	}
	r.loop = uint32(h>>32) | 1
	return r.loop
}

//go:noinline
func (r *Request) addRoutes(h loopSum) loopSum {
	for v := range r.All("Route") {
		h = h.add([]string{v})
	}
	return h
}

// A loopSum is a hash in the making, by folded multiplication: some forty instructions a part. It tells apart what comes by chance; whoever wrote another
// request with the same value into a Via of ours would have only that request refused.
type loopSum uint64

// add hashes the parts and where each of them ends.
func (h loopSum) add(parts []string) loopSum {
	for _, s := range parts {
		h ^= loopSum(len(s))
		for ; len(s) >= 8; s = s[8:] {
			h = h.fold(uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56)
		}
		rest := uint64(0)
		for i := range len(s) {
			rest = rest<<8 | uint64(s[i])
		}
		h = h.fold(rest)
	}
	return h
}

func (h loopSum) fold(word uint64) loopSum {
	high, low := bits.Mul64(uint64(h)^word, 0x9e3779b97f4a7c15)
	return loopSum(high ^ low)
}

// looped reports whether the request passed here before with the same routing inputs (§16.3 step 4).
func (r *Request) looped() bool {
	mark := [9]byte{'.'}
	appendHex32(mark[:1], r.loopHash())
	return r.ViasContain(string(mark[:])) && r.hasLooped()
}

// hasLooped is looped for the case that some Via looks like it.
func (r *Request) hasLooped() bool {
	for v, err := range r.Vias() {
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(v.Branch(), ".")
		if len(rest) < 8 || len(rest) > 8 && rest[8] != '.' {
			continue // not of our making
		}
		var own [8]byte
		if string(appendHex32(own[:0], r.loopHash())) != rest[:8] {
			continue
		}
		if proto, _ := transport.ParseProto(v.Transport); r.srv.trs.IsLocal(v.Host, v.Port, proto) {
			return true
		}
	}
	return false
}
