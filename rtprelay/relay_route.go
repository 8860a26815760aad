package rtprelay

import (
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
)

// routeParam is the Record-Route parameter in which a relayed call remembers its leg, caller and node.
const routeParam = "rl"

// Params gives the Record-Route parameter that lets the engine be found again after a restart, or by another proxy with the same keys. It fits
// recordroute.Router.Params.
func (rl *Relay) Params(b *sipproxy.Branch) sip.Params {
	rl.setup()
	r := b.Of
	rl.mu.Lock()
	defer rl.mu.Unlock()
	var l *relayLeg
	if r.InDialog() {
		l, _ = rl.find(r.CallID(), r.FromTag(), r.ToTag())
	} else {
		request := hashOf(r.Branch())
		l = rl.calls[r.CallID()]
		for l != nil && (l.branch != b.ID || l.request != request || l.from != r.FromTag()) {
			l = l.next
		}
	}
	if l == nil {
		return ""
	}
	return sip.Params(";" + routeParam + "=" + strconv.Itoa(l.id) + "." + tagHash(l.from) + "." + escapeParam(l.node))
}

// tagHash tells which of two tags is the caller's.
func tagHash(tag string) string { return strconv.FormatUint(uint64(hashOf(tag)), 36) }

func hashOf(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}

// fromRoute rebuilds a leg from the parameter on our own Route. Whether to trust it is for recordroute, which signs it.
func fromRoute(r *sipproxy.Request) (*relayLeg, callSide) {
	for _, n := range r.OwnRoutes() {
		v, ok := n.URI.Params.Get(routeParam)
		if !ok {
			continue
		}
		leg, rest, _ := strings.Cut(v, ".")
		hash, node, ok := strings.Cut(rest, ".")
		id, err := strconv.ParseUint(leg, 10, 31)
		if !ok || err != nil {
			return nil, nobody
		}
		l := &relayLeg{callID: r.CallID(), from: r.FromTag(), to: r.ToTag(), id: int(id), node: sip.Unescape(node), confirmed: true, gone: true}
		switch hash {
		case tagHash(l.from):
			return l, caller
		case tagHash(l.to):
			l.from, l.to = l.to, l.from
			return l, callee
		}
		return nil, nobody
	}
	return nil, nobody
}

// escapeParam writes what a URI parameter may not hold as %HH (RFC 3261 §25.1, paramchar).
func escapeParam(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("[]/:&+$-_.!~*'()", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
