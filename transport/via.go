package transport

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/sip"
)

// sources remembers the text of the last source addresses, so that received costs no allocation for peers that send often.
// One reader uses it.
type sources [16]struct {
	ip   netip.Addr
	text string
}

func (s *sources) text(ip netip.Addr) string {
	b := ip.As16()
	e := &s[(b[15]^b[14]*7)%uint8(len(s))]
	if e.ip != ip {
		e.ip, e.text = ip, ip.WithZone("").String()
	}
	return e.text
}

// markSource writes received (RFC 3261 §18.2.1) and rport (RFC 3581 §4) into the topmost Via. received is there when the
// sent-by host is not the source address, and always beside rport; one that the client itself wrote never stays.
// With force a client whose sent-by is another address than its source is treated as if it had asked for rport: it is behind a NAT.
func markSource(q *sip.Request, from netip.AddrPort, s *sources, force bool) {
	v, err := q.Via()
	if err != nil {
		return // Valid names the fault
	}
	bare := branchOnly(&v)
	if bare || !v.Params.Has("rport") {
		same := v.Host == s.text(from.Addr()) || sameIP(v.Host, from.Addr())
		if same && (bare || !v.Params.Has("received")) {
			return
		}
		if same || !force {
			q.SetViaReceived(s.text(from.Addr()), 0)
			return
		}
	}
	q.SetViaReceived(s.text(from.Addr()), from.Port())
}

// branchOnly: nothing but the branch needs to be looked for in the parameters of v.
func branchOnly(v *sip.Via) bool {
	const branch = ";branch="
	p := string(v.Params)
	return strings.HasPrefix(p, branch) && strings.IndexByte(p[len(branch):], ';') < 0
}

func sameIP(host string, addr netip.Addr) bool {
	ip, literal := parseIP(host)
	return literal && ip.WithZone("") == addr.WithZone("")
}

// ReplyFlow is the flow on which answers to a request received on f leave, by §18.2.2 and RFC 3581: computed once per
// transaction. top is the Via with received and rport filled in.
func (l *Layer) ReplyFlow(f Flow, top sip.Via) Flow {
	if f.end == nil {
		return f
	}
	proto, source := f.Proto(), f.remote
	port := top.Port
	if port == 0 {
		port = proto.DefaultPort()
	}
	if proto.Reliable() {
		// The same connection; when that is gone, a new one to received and the sent-by port.
		f.remote = netip.AddrPortFrom(f.Remote().AddrPort.Addr(), port)
		return f
	}
	if !branchOnly(&top) {
		if maddr, ok := viaMaddr(top); ok {
			f.remote = netip.AddrPortFrom(maddr, port)
			return f
		}
		if top.Params.Has("rport") {
			return f
		}
	}
	f.remote = netip.AddrPortFrom(source.Addr(), port)
	return f
}

func viaMaddr(v sip.Via) (netip.Addr, bool) {
	s, ok := v.Params.Get("maddr")
	if !ok {
		return netip.Addr{}, false
	}
	return parseIP(s)
}

// ViaFlow is the flow for a response whose topmost Via (after ours was removed) is v, when the flow of its request is not known: stateless forwarding.
// A sent-by name without received is resolved from the cache only (ErrNoAddress when it is not there).
func (l *Layer) ViaFlow(v sip.Via, from Flow) (Flow, error) {
	p, ok := ParseProto(v.Transport)
	if !ok {
		return Flow{}, ErrNoAddress
	}
	port := v.Port
	if port == 0 {
		port = p.DefaultPort()
	}
	ip, ok := l.viaIP(v, p, port)
	if !ok {
		return Flow{}, ErrNoAddress
	}
	rport := viaRport(v)
	if !p.Reliable() {
		if rport != 0 && !v.Params.Has("maddr") {
			port = rport
		}
		return l.FlowTo(Addr{Proto: p, AddrPort: netip.AddrPortFrom(ip, port)}, from)
	}
	if rport != 0 {
		if c := l.conns.find(Addr{}, Addr{Proto: p, AddrPort: netip.AddrPortFrom(ip, rport)}); c != nil {
			return Flow{end: &c.end, remote: netip.AddrPortFrom(ip, port)}, nil
		}
	}
	to := Addr{Proto: p, AddrPort: netip.AddrPortFrom(ip, port)}
	if p.Secure() && !isIPHost(v.Host) {
		to.Name = v.Host
	}
	return l.FlowTo(to, from)
}

// Wrote reports whether the sent-by of v is one that this layer writes: that of f, or of another of its listeners. A response with another one
// is not for us (§18.1.2).
func (l *Layer) Wrote(f Flow, v sip.Via) bool {
	host, port := f.SentBy()
	return v.Host == host && v.Port == port || l.IsLocal(v.Host, v.Port, 0)
}

func viaRport(v sip.Via) uint16 {
	s, _ := v.Params.Get("rport")
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// viaIP is where a response to v goes: maddr (unreliable only), received, sent-by.
func (l *Layer) viaIP(v sip.Via, p Proto, port uint16) (netip.Addr, bool) {
	if !p.Reliable() {
		if ip, ok := viaMaddr(v); ok {
			return ip, true
		}
	}
	if s, ok := v.Params.Get("received"); ok {
		if ip, ok := parseIP(s); ok {
			return ip, true
		}
	}
	if ip, ok := parseIP(v.Host); ok {
		return ip, true
	}
	addrs, ok := l.ResolveNow(nil, Query{Host: v.Host, Port: port, Proto: p})
	if !ok || len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return addrs[0].AddrPort.Addr(), true
}
