package siptest

import (
	"net/netip"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// A NAT is a box that hides hosts with private addresses behind one public address. Give its fields to Network.NAT.
type NAT struct {
	Public    string        // its public IP address
	Symmetric bool          // another mapping for every destination; else one for all (cone)
	Open      bool          // anybody may send to a mapping (full cone); else only addresses and ports spoken to lately
	Timeout   time.Duration // a UDP mapping without packets from inside goes; 30 s
	Idle      time.Duration // a connection without bytes is forgotten; 2 h

	n       *Network
	outer   *realm
	inner   *realm
	public  netip.Addr
	next    uint16
	byInner map[mappingKey]*mapping
	byPort  map[uint16]*mapping
	flushed time.Time
}

type mappingKey struct {
	proto transport.Proto
	from  netip.AddrPort
	to    netip.AddrPort // Symmetric only
}

type mapping struct {
	key    mappingKey
	port   uint16
	used   time.Time                    // last packet from inside
	spoken map[netip.AddrPort]time.Time // peers and the last packet to them
}

// NAT puts a NAT box between a new private network and the public one.
func (n *Network) NAT(b NAT) *NAT {
	n.mu.Lock()
	defer n.mu.Unlock()
	box := &b
	if box.Timeout == 0 {
		box.Timeout = 30 * time.Second
	}
	if box.Idle == 0 {
		box.Idle = 2 * time.Hour
	}
	box.n, box.outer, box.inner = n, n.outside(), newRealm(box)
	box.public, box.next = netip.MustParseAddr(b.Public), 40000
	box.byInner, box.byPort = make(map[mappingKey]*mapping), make(map[uint16]*mapping)
	box.outer.boxes[box.public] = box
	return box
}

// Host returns a host behind the box. Hosts behind different boxes may have equal addresses.
func (b *NAT) Host(ips ...string) *Host {
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	return b.n.host(b.inner, ips)
}

// Forget drops all mappings and connections, as a reboot of the box does.
func (b *NAT) Forget() {
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	clear(b.byInner)
	clear(b.byPort)
	b.flushed = now()
}

// forgot reports whether a connection used last at that time is no longer known.
func (b *NAT) forgot(used time.Time) bool {
	return now().Sub(used) > b.Idle || (!b.flushed.IsZero() && !used.After(b.flushed))
}

// outbound follows a packet from inside to the realm where its destination is, and gives the source as seen there.
func (r *realm) outbound(p transport.Proto, src, dst netip.AddrPort) (*realm, netip.AddrPort) {
	for r.nat != nil && r.hosts[dst.Addr()] == nil {
		src = r.nat.translate(p, src, dst)
		r = r.nat.outer
	}
	return r, src
}

func (b *NAT) translate(p transport.Proto, src, dst netip.AddrPort) netip.AddrPort {
	k := mappingKey{proto: p, from: src}
	if b.Symmetric {
		k.to = dst
	}
	m := b.byInner[k]
	if m == nil || b.expired(m) {
		b.drop(m)
		b.next++
		m = &mapping{key: k, port: b.next, spoken: make(map[netip.AddrPort]time.Time)}
		b.byInner[k], b.byPort[m.port] = m, m
	}
	m.used = now()
	m.spoken[dst] = m.used
	return netip.AddrPortFrom(b.public, m.port)
}

func (b *NAT) expired(m *mapping) bool { return now().Sub(m.used) > b.Timeout }

func (b *NAT) drop(m *mapping) {
	if m != nil {
		delete(b.byInner, m.key)
		delete(b.byPort, m.port)
	}
}

// inbound follows a packet inward to the host it is for: nil when no host has the address; why names what refused it.
func (r *realm) inbound(p transport.Proto, src, dst netip.AddrPort) (h *Host, at netip.AddrPort, why string) {
	for r.hosts[dst.Addr()] == nil {
		b := r.boxes[dst.Addr()]
		if b == nil {
			return nil, dst, ""
		}
		m := b.byPort[dst.Port()]
		if m == nil || m.key.proto != p || b.expired(m) || p != transport.UDP {
			return nil, dst, "no NAT mapping"
		}
		if last, ok := m.spoken[src]; !b.Open && (!ok || now().Sub(last) > b.Timeout) {
			return nil, dst, "NAT filter"
		}
		dst, r = m.key.from, b.inner
	}
	return r.hosts[dst.Addr()], dst, ""
}
