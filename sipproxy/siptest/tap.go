package siptest

import (
	"net/netip"

	"github.com/sipkit/sipkit/transport"
)

// Tap lets f see every packet when it is sent. A packet that is found undeliverable when it arrives, later, is told a second
// time with the same N and the reason in Lost. f runs with the Network locked: it must be quick and must not use it.
func (n *Network) Tap(f func(Packet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taps = append(n.taps, f)
}

func (n *Network) tap(p Packet) {
	for _, f := range n.taps {
		f(p)
	}
}

func (n *Network) packet(p transport.Proto, from, to netip.AddrPort, b []byte) Packet {
	n.count++
	return Packet{N: n.count, Time: now(), Proto: p, From: from, To: to, Data: b}
}
