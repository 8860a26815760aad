package siptest

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/sipkit/sipkit/transport"
)

// A Link says how what one host sends to another travels. The zero Link is perfect: all arrives at once and in order.
// Loss, Duplicate, Reorder and Drop concern datagrams; connections are delayed only.
type Link struct {
	Delay     time.Duration     // every packet travels so long
	Jitter    time.Duration     // and up to so much more, at random; order is kept
	Loss      float64           // probability that a datagram is lost
	Duplicate float64           // probability that it arrives twice
	Reorder   float64           // probability that it is held back so that later ones overtake it
	Hold      time.Duration     // how long Reorder holds it back; 20 ms
	Drop      func(Packet) bool // true: this datagram is lost. It must not use the Network
}

// A Packet is a datagram, or the bytes of one Write on a connection, as it leaves its sender.
type Packet struct {
	N        uint64 // number on this Network, from 1
	Time     time.Time
	Proto    transport.Proto // transport.UDP or transport.TCP
	From, To netip.AddrPort  // public addresses when a NAT box is between
	Data     []byte          // valid during the call only
	Lost     string          // why it did not arrive; "" when it did or is on its way
}

// direction is a pair of addresses; a zero one stands for any.
type direction struct{ from, to netip.Addr }

// A way is the state of one direction: what must be remembered to keep order and to repeat the dice.
type way struct {
	dice *rand.Rand
	last time.Time // latest arrival so far
}

// SetLink sets how packets travel from one address to another; "" stands for any. The most special one counts: both
// given, from given, to given, none. Behind a NAT box both the private and the public address are known.
func (n *Network) SetLink(from, to string, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outside()
	n.links[direction{addrOrAny(from), addrOrAny(to)}] = &l
}

func addrOrAny(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s).Unmap()
}

var perfect Link

// link finds the link for a direction; inside is the private address of a sender behind a NAT box, else from.
func (n *Network) link(inside, from, to netip.Addr) *Link {
	for _, d := range [...]direction{{inside, to}, {from, to}, {inside, netip.Addr{}}, {from, netip.Addr{}}, {netip.Addr{}, to}} {
		if l := n.links[d]; l != nil {
			return l
		}
	}
	if l := n.links[direction{}]; l != nil {
		return l
	}
	return &perfect
}

func (n *Network) way(from, to netip.Addr) *way {
	d := direction{from, to}
	w := n.ways[d]
	if w == nil {
		w = &way{dice: rand.New(rand.NewPCG(n.Seed, hashText(from.String()+">"+to.String())))} //nolint:gosec // repeatable on purpose
		n.ways[d] = w
	}
	return w
}

// hashText is FNV-1a: maphash is seeded anew in every process, which would not repeat.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// arrival is when something that leaves now arrives in order.
func (w *way) arrival(l *Link) time.Time {
	at := now().Add(l.Delay)
	if l.Jitter > 0 {
		at = at.Add(time.Duration(w.dice.Int64N(int64(l.Jitter) + 1)))
	}
	if at.Before(w.last) {
		at = w.last
	}
	w.last = at
	return at
}

// fate throws the dice for one datagram: always the same number of throws, so that one probability does not shift the others.
func (w *way) fate(l *Link) (lost, twice, held bool) {
	a, b, c := w.dice.Float64(), w.dice.Float64(), w.dice.Float64()
	return a < l.Loss, b < l.Duplicate, c < l.Reorder
}
