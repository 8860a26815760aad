package transport

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	routeLife = time.Minute
	routeMax  = 4096
)

// routes remembers from which of our addresses the system reaches others.
type routes struct {
	l  *Layer
	mu sync.Mutex
	to map[netip.Addr]route
}

type route struct {
	source  source
	expires time.Duration // since Layer.base
}

func (r *routes) init(l *Layer) {
	r.l = l
	r.to = make(map[netip.Addr]route)
}

// source is our address towards to; when it cannot be known, any of ours of that family, else none.
func (r *routes) source(to netip.Addr) source {
	now := time.Since(r.l.base)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.to[to]; ok && now < e.expires {
		return e.source
	}
	if len(r.to) >= routeMax {
		clear(r.to)
	}
	e := route{source: sourceOf(r.ask(to)), expires: now + routeLife}
	r.to[to] = e
	return e.source
}

// ask connects a UDP socket, which sends nothing and does not wait.
func (r *routes) ask(to netip.Addr) netip.Addr {
	if _, real := r.l.net.(SystemNet); real {
		u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err == nil {
			defer func() { _ = u.Close() }()
			if a, ok := addrPortOf(u.LocalAddr()); ok {
				return a.Addr()
			}
		}
	}
	for _, ln := range r.l.listeners {
		if ip := ln.addr.AddrPort.Addr(); ln.sameFamily(to) && !ln.wildcard && ip.IsLoopback() == to.IsLoopback() {
			return ip
		}
	}
	var best netip.Addr
	for ip := range r.l.hosts {
		if ip.Is4() == to.Is4() && ip.IsLoopback() == to.IsLoopback() && (!best.IsValid() || ip.Less(best)) {
			best = ip
		}
	}
	return best
}
