package transport

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// A listener is one listen address and its sockets.
type listener struct {
	l          *Layer
	host       string // as sent-by, with port: what to advertise, else of addr; "" for a wildcard that advertises nothing
	port       uint16
	advertises bool // host and port were asked for
	wildcard   bool
	index      int
	addr       Addr         // bound, with its real port
	socks      []*udpSock   // UDP
	accept     net.Listener // reliable protocols
}

func (ln *listener) advertised() string {
	if ln.host != "" {
		return ln.host + ":" + uitoa(ln.port)
	}
	return hostString(ln.addr.AddrPort.Addr()) + ":" + uitoa(ln.addr.AddrPort.Port())
}

// sameFamily: IPv6 sockets are IPv6 only.
func (ln *listener) sameFamily(ip netip.Addr) bool { return ln.addr.AddrPort.Addr().Is4() == ip.Is4() }

// covers reports whether ip is an address the listener is bound to.
func (ln *listener) covers(ip netip.Addr) bool {
	own := ln.addr.AddrPort.Addr()
	if !ln.wildcard {
		return own.WithZone("") == ip.WithZone("")
	}
	if own.Is4() != ip.Is4() {
		return false
	}
	_, ours := ln.l.hosts[ip.WithZone("")]
	return ours || ip.IsLoopback()
}

// pick finds the listener to send from: of protocol p (0: any), of the family of to, reaching it best, and from's own if it fits.
func (l *Layer) pick(p Proto, to netip.Addr, from Flow) *listener {
	var best *listener
	top := -1
	var own *listener
	if from.end != nil {
		own = from.end.ln
	}
	for _, ln := range l.listeners {
		if p != 0 && ln.addr.Proto != p {
			continue
		}
		if s := ln.score(to, own, from.local.addr()); s > top {
			best, top = ln, s
		}
	}
	return best
}

// score is -1 when ln cannot reach to.
func (ln *listener) score(to netip.Addr, own *listener, local netip.Addr) int {
	if !ln.sameFamily(to) {
		return -1
	}
	ip := ln.addr.AddrPort.Addr()
	s := 2
	switch {
	case ln.wildcard:
	case ip.IsLoopback() && !to.IsLoopback():
		return 0 // the system will refuse; nothing else may be there
	case ip.IsLoopback() != to.IsLoopback():
		s = 1
	case ln.l.neighbours(ip, to):
		s = 3
	}
	switch {
	case own == nil || s < 2:
	case own == ln:
		s += 10
	case own.addr.AddrPort.Addr() == ip || ip == local:
		s += 5
	}
	return s
}

// neighbours reports whether one subnet of ours holds both.
func (l *Layer) neighbours(a, b netip.Addr) bool {
	for _, p := range l.subnets {
		if p.Contains(a) && p.Contains(b) {
			return true
		}
	}
	return false
}

// source is the address of ours from which a wildcard listener reaches to. An address that from used is kept when it is on the
// same subnet as the one the system would choose (a floating address).
func (l *Layer) source(ln *listener, to netip.Addr, from Flow) source {
	if !ln.wildcard {
		return source{}
	}
	last := from.Local().AddrPort.Addr()
	if to.IsLoopback() && last.IsLoopback() && last.Is4() == to.Is4() {
		return sourceOf(last)
	}
	s := l.routes.source(to)
	if ip := s.addr(); last.IsValid() && last != ip && l.neighbours(last, ip) {
		return sourceOf(last)
	}
	return s
}

// An addresser is a Net that knows the addresses of its machine. Those of the real machine mean nothing on another network.
type addresser interface {
	InterfaceAddrs() ([]net.Addr, error)
}

// interfaces fills hosts and subnets from the addresses of this machine.
func (l *Layer) interfaces() {
	l.hosts = map[netip.Addr]string{}
	n, ok := l.net.(addresser)
	if !ok {
		return
	}
	addrs, err := n.InterfaceAddrs()
	if err != nil {
		l.log.Warn("interface addresses unknown", "error", err)
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		ones, _ := n.Mask.Size()
		l.hosts[ip] = hostString(ip)
		l.subnets = append(l.subnets, netip.PrefixFrom(ip, ones).Masked())
	}
}

// IsLocal reports whether host (literal, name compared without case to advertised names) and port are one of ours; port 0 means the default of proto; proto 0 any.
// A protocol that no listener has is compared by host and port alone: connections of it leave under the address of another listener.
func (l *Layer) IsLocal(host string, port uint16, p Proto) bool {
	if l.plain && !strings.Contains(host, ":") {
		switch known := l.spelled(host, port); {
		case !known:
			return false
		case port != 0 && p == 0:
			return true
		}
	}
	ip, literal := parseIP(host)
	if p != 0 && !l.listens(p) {
		if port == 0 {
			port = p.DefaultPort()
		}
		p = 0
	}
	for _, ln := range l.listeners {
		if p != 0 && ln.addr.Proto != p {
			continue
		}
		want := port
		if want == 0 {
			want = ln.addr.Proto.DefaultPort()
		}
		if want == ln.addr.AddrPort.Port() && literal && ln.covers(ip) {
			return true
		}
		if want == ln.port && ln.advertises && sameHost(ln.host, host, ip, literal) {
			return true
		}
	}
	return false
}

// spelled reports, by comparing texts, whether host and port, unless that is 0, are a listener's, when all are plain: IPv4 has but one spelling.
func (l *Layer) spelled(host string, port uint16) bool {
	for _, ln := range l.listeners {
		if ln.host == host && (port == 0 || port == ln.port) {
			return true
		}
	}
	return false
}

func (l *Layer) listens(p Proto) bool {
	for _, ln := range l.listeners {
		if ln.addr.Proto == p {
			return true
		}
	}
	return false
}

func sameHost(ours, host string, ip netip.Addr, literal bool) bool {
	if literal {
		o, ok := parseIP(ours)
		return ok && o == ip
	}
	return strings.EqualFold(strings.TrimSuffix(host, "."), ours)
}

// exhausted reports whether there are no descriptors left.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// acceptLoop hands out accepted connections until the listener is closed.
func (ln *listener) acceptLoop() {
	defer ln.l.running.Done()
	wait := time.Duration(0)
	for {
		nc, err := ln.accept.Accept()
		if err == nil {
			wait = 0
			ln.l.accepted(ln, nc)
			continue
		}
		if ln.l.isClosed() {
			return
		}
		// Out of descriptors, or aborted by the peer: go on, but do not spin.
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		ln.l.stats.acceptFailed.Add(1)
		if exhausted(err) && ln.l.conns.relieve() {
			wait = 5 * time.Millisecond // counted, and no line each
		} else {
			ln.l.log.Warn("accept failed", "listen", ln.addr.String(), "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ln.l.ctx.Done():
			return
		}
	}
}
