package rtprelay

import "net/netip"

const (
	filesOfSession  = 4 // what a session may need: RTP and RTCP towards either party
	defaultSessions = 10_000
)

// economize closes the ports for RTCP of a session whose parties have agreed on one port for both (RFC 5761 section 5.1.1), which halves the descriptors of the call; should they
// part again, the ports come back, their numbers having been kept. e.mu and the lock of the loop are held.
func (s *relaySession) economize() {
	if !s.ready() {
		return
	}
	muxed := s.sides[0].takesMux && s.sides[1].takesMux
	for i := range s.sides {
		if side := &s.sides[i]; muxed {
			side.closeRTCP()
		} else if side.rtcp == nil {
			side.reopenRTCP()
		}
	}
	need := filesOfSession
	if muxed {
		need /= 2
	}
	s.embedded.files += need - s.files
	s.files = need
}

func (s *relaySide) closeRTCP() {
	if s.rtcp != nil {
		s.session.loop.remove(s.rtcp)
		s.rtcp = nil
	}
}

// reopenRTCP does what it can: without the port, RTCP of the party is lost, its call is not.
func (s *relaySide) reopenRTCP() {
	l := s.session.loop
	sock, err := l.bind(netip.AddrPortFrom(s.net.Addr, s.rtp.num+1))
	if err != nil {
		return
	}
	s.rtcp = &relayPort{side: s, sock: sock, num: s.rtp.num + 1, rtcp: true}
	if l.add(s.rtcp) != nil {
		s.closeRTCP()
		return
	}
	if s.tos > 0 {
		l.mark(sock, int(s.tos)-1, s.net.Addr.Is6())
	}
}

// full says whether there is no room for one more session; e.mu is held.
func (e *Embedded) full() bool {
	return e.closed || e.sessions >= e.set.max || e.set.files > 0 && e.files+filesOfSession > e.set.files
}
