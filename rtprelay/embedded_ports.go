package rtprelay

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
)

const defaultLow, defaultHigh = 10000, 29999

// relayNet is an Interface with its port pairs.
type relayNet struct {
	Interface
	mu    sync.Mutex
	used  []uint64 // a bit a pair
	pairs int
	taken int
}

func newRelayNet(in Interface) *relayNet {
	in.Addr, in.Advertise = in.Addr.Unmap(), in.Advertise.Unmap()
	if in.Low == 0 && in.High == 0 {
		in.Low, in.High = defaultLow, defaultHigh
	}
	in.Low += in.Low & 1 // RTP is even, RFC 3550 section 11
	n := &relayNet{Interface: in}
	n.pairs = (int(in.High) - int(in.Low) + 1) / 2
	n.used = make([]uint64, (n.pairs+63)/64)
	return n
}

// owns says whether packets sent there would come back to this relay.
func (n *relayNet) owns(a netip.AddrPort) bool {
	return (a.Addr() == n.Addr || a.Addr() == n.public()) && a.Port() >= n.Low && int(a.Port()) < int(n.Low)+2*n.pairs
}

// take reserves a pair that nobody can foresee (RFC 7362 section 4), at or after a random place.
func (n *relayNet) take() (rtp uint16, ok bool) {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken >= n.pairs {
		return 0, false
	}
	at := int(binary.NativeEndian.Uint64(seed[:]) % uint64(n.pairs))
	for n.used[at/64]&(1<<(at%64)) != 0 {
		if at++; at == n.pairs {
			at = 0
		}
	}
	n.used[at/64] |= 1 << (at % 64)
	n.taken++
	return n.Low + uint16(2*at), true
}

func (n *relayNet) give(rtp uint16) {
	at := int(rtp-n.Low) / 2
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used[at/64] &^= 1 << (at % 64)
	n.taken--
}

// bindTries bounds the search when other programs sit in the range.
const bindTries = 64

// open binds a pair and gives it to the loop once both are there; l.mu is held.
func (n *relayNet) open(l *relayLoop, s *relaySide) error {
	var busy []uint16
	defer func() {
		for _, p := range busy {
			n.give(p)
		}
	}()
	for range bindTries {
		port, ok := n.take()
		if !ok {
			return ErrUnavailable
		}
		rtp, err := l.bind(netip.AddrPortFrom(n.Addr, port))
		if err != nil {
			busy = append(busy, port)
			if !addrInUse(err) {
				return err
			}
			continue
		}
		rtcp, err := l.bind(netip.AddrPortFrom(n.Addr, port+1))
		if err != nil {
			l.unbind(rtp)
			busy = append(busy, port)
			if !addrInUse(err) {
				return err
			}
			continue
		}
		s.net = n
		s.rtp = &relayPort{side: s, sock: rtp, num: port}
		s.rtcp = &relayPort{side: s, sock: rtcp, num: port + 1, rtcp: true}
		if err = errors.Join(l.add(s.rtp), l.add(s.rtcp)); err != nil {
			s.close()
		}
		return err
	}
	return ErrUnavailable
}
