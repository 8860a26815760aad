package rtprelay

import (
	"errors"
	"net/netip"
	"path/filepath"
)

// A copier sends what one party sends to a third place as well: to a host, or into a file.
type copier struct {
	loop      *relayLoop
	sock      relaySocket
	rtp, rtcp endpoint
	local     netip.AddrPort
	rec       *recording // in place of all above
}

var errCopyTarget = errors.New("rtprelay: no such target for copies")

// copyTo begins to send copies to host:port, RTCP to the port above, and answers from where they come. Asked again for the same target it changes nothing. e.mu is held.
func (e *Embedded) copyTo(s *relaySession, side uint8, target string) (netip.AddrPort, error) {
	to, err := netip.ParseAddrPort(target)
	if err != nil || to.Port() == 65535 || !e.permitted(to, to.Addr()) {
		return netip.AddrPort{}, errCopyTarget
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	n := e.netOf(to.Addr().Is6())
	if own := s.sides[side].net; own != nil && own.Addr.Is6() == to.Addr().Is6() {
		n = own
	}
	if n == nil {
		return netip.AddrPort{}, errCopyTarget
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if c := s.sides[side].copy; c != nil && c.rec == nil && c.rtp.addr == to {
		return c.local, nil
	}
	sock, err := s.loop.bind(netip.AddrPortFrom(n.Addr, 0))
	if err != nil {
		return netip.AddrPort{}, err
	}
	c := &copier{loop: s.loop, sock: sock, rtp: endpointOf(to), rtcp: endpointOf(above(to)), local: netip.AddrPortFrom(n.public(), s.loop.portOf(sock))}
	s.sides[side].replaceCopy(c)
	return c.local, nil
}

// copyToFile begins to write what a party sends into a file of RecordDir; e.mu is held.
func (e *Embedded) copyToFile(s *relaySession, side uint8, name string) error {
	rec, err := newRecording(freeName(filepath.Join(e.RecordDir, "c-"+fileName(name))), e.set.base)
	if err != nil {
		return err
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.sides[side].replaceCopy(&copier{loop: s.loop, rec: rec})
	return nil
}

// packet is called on the loop, for a packet that came to port.
func (c *copier) packet(b []byte, rtcp bool, from, to netip.AddrPort, now int64) {
	switch {
	case c.rec != nil:
		c.rec.packet(b, from, to, now)
	case rtcp:
		c.loop.send(c.sock, b, &c.rtcp)
	default:
		c.loop.send(c.sock, b, &c.rtp)
	}
}

// replaceCopy and endCopies hold the lock of the loop, as copies are made there; nil ends.
func (s *relaySide) replaceCopy(c *copier) {
	if old := s.copy; old != nil {
		if old.rec != nil {
			old.rec.stop()
		} else {
			old.loop.unbind(old.sock)
		}
	}
	s.copy = c
}

func (s *relaySession) endCopies() {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	for i := range s.sides {
		s.sides[i].replaceCopy(nil)
	}
}
