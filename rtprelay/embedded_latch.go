package rtprelay

import "net/netip"

// learnWindow is how long after its first packet a port may still prefer a better matching source. In nanoseconds.
const learnWindow = int64(3e9)

// roamDistance is how far the sequence number may go on when a party is followed to another address.
const roamDistance = 536

// rank orders sources by how well the signalling vouches for them.
type rank uint8

const (
	rankNone   rank = iota // nobody learned; as an answer: refused
	rankAny                // LatchAny alone
	rankHost               // the host is known, the port is not: the usual NAT
	rankSignal             // exactly as signalled
)

// party is what the signalling says about who is behind a side.
type party struct {
	signal netip.AddrPort // where RTP is sent while nothing was learned
	sdp    netip.AddrPort // in the description, when that is not what signal says
	rtcp   netip.AddrPort // explicit a=rtcp; invalid: one above signal
	source netip.Addr     // of the SIP message
	asym   bool           // no learning: only that host may send, everything goes to signal
	any    bool
	hold   bool // c=0.0.0.0: nothing may be sent there
	quiet  bool // on hold in either way: silence is no time-out
	mute   bool // does not send
	deaf   bool // does not want to receive
}

// sameAs: the description names the same addresses, so that what was learned holds.
func (p *party) sameAs(o *party) bool {
	return p.signal == o.signal && p.sdp == o.sdp && p.rtcp == o.rtcp && p.asym == o.asym
}

// formerParty is what held before the last change of address.
type formerParty struct {
	party     party
	rtp, rtcp latch
}

func (p *party) rtcpSignal() netip.AddrPort {
	if p.rtcp.IsValid() {
		return p.rtcp
	}
	return above(p.signal)
}

// above is the RTCP address that belongs to an RTP address, RFC 3550 section 11.
func above(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() || a.Port() == 65535 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr(), a.Port()+1)
}

// latch is where one flow (RTP or RTCP) of a party comes from and goes to.
type latch struct {
	dst    endpoint       // invalid: nowhere yet
	peer   netip.AddrPort // learned source
	rank   rank
	locked bool
	until  int64 // end of the learning window; 0: it has not begun
}

func (l *latch) reopen() { l.peer, l.rank, l.locked, l.until = netip.AddrPort{}, rankNone, false, 0 }

// learn judges a packet that did not come from the learned source: true if it is taken.
func (l *latch) learn(from netip.AddrPort, r rank, now int64) bool {
	if l.rank != rankNone && now >= l.until {
		l.locked = true
	}
	if l.locked || r <= l.rank {
		return false
	}
	if l.until == 0 {
		l.until = now + learnWindow
	}
	l.peer, l.rank = from, r
	l.locked = r == rankSignal
	return true
}

// vouch ranks a source by what the signalling said.
func (p *party) vouch(from netip.AddrPort, rtcp bool, rtpPeer netip.AddrPort) rank {
	if rtcp {
		if from == p.rtcpSignal() || from == above(p.sdp) || (rtpPeer.IsValid() && from == above(rtpPeer)) {
			return rankSignal
		}
	} else if from == p.signal || from == p.sdp {
		return rankSignal
	}
	a := from.Addr()
	switch {
	case a == p.signal.Addr(), a == p.sdp.Addr(), a == p.source:
		return rankHost
	case rtcp && (a == rtpPeer.Addr() || a == p.rtcp.Addr()):
		return rankHost
	case p.any:
		return rankAny
	}
	return rankNone
}

// admit says whether a packet belongs to the party of this side, learning its address where that is still open.
func (s *relaySide) admit(p *relayPort, from netip.AddrPort, class packetClass, b []byte, now int64) bool {
	l := &s.rtpLatch
	if p.rtcp {
		l = &s.rtcpLatch
	}
	if l.rank != rankNone && from == l.peer {
		return true
	}
	if s.party.asym {
		return s.admitAsymmetric(from)
	}
	r := s.party.vouch(from, p.rtcp, s.rtpLatch.peer)
	if l.locked && !p.rtcp && s.roams(class, b) {
		l.reopen()
		r = rankSignal
	}
	if l.locked || r <= l.rank { // the common case of a stranger, before the dearer question
		return false
	}
	if !s.session.embedded.permitted(from, s.party.source) {
		s.session.embedded.denied.Add(1)
		return false
	}
	if !l.learn(from, r, now) {
		return false
	}
	l.dst = endpointOf(from)
	if !p.rtcp && s.rtcpLatch.rank == rankNone {
		s.guessRTCP(from)
	}
	return true
}

// admitAsymmetric: the party sends from the host that it named, whatever the port.
func (s *relaySide) admitAsymmetric(from netip.AddrPort) bool {
	a := from.Addr()
	return a == s.party.signal.Addr() || a == s.party.sdp.Addr() || a == s.party.rtcp.Addr()
}

// roams: the stream that is known goes on from another address.
func (s *relaySide) roams(class packetClass, b []byte) bool {
	return s.session.embedded.Roaming && class == classRTP && s.recv.continues(b)
}

// guessRTCP sends RTCP next to where RTP was learned until RTCP itself is.
func (s *relaySide) guessRTCP(rtp netip.AddrPort) {
	if s.party.rtcp.IsValid() && s.party.rtcp.Addr() == rtp.Addr() {
		return
	}
	if a := above(rtp); s.session.embedded.permitted(a, s.party.source) {
		s.rtcpLatch.dst = endpointOf(a)
	}
}

// signal takes what a new description says about the party of this side. Only a changed address opens learning again.
func (s *relaySide) signal(p party) {
	old, known := s.party, s.known
	if p.hold { // the address stays known for the way back
		p.signal, p.sdp, p.rtcp = old.signal, old.sdp, old.rtcp
		s.party = p
		return
	}
	s.party, s.known = p, true
	if known && p.sameAs(&old) {
		return
	}
	if f := s.former; f != nil && p.sameAs(&f.party) { // an offer that was refused is taken back: what was learned holds again
		s.rtpLatch, s.rtcpLatch, s.former = f.rtp, f.rtcp, nil
		return
	}
	if known {
		s.former = &formerParty{old, s.rtpLatch, s.rtcpLatch}
	}
	learned := s.rtpLatch.peer
	s.rtpLatch.reopen()
	s.rtcpLatch.reopen()
	// Behind a NAT the new port says nothing: what was learned serves until the first packet comes from elsewhere.
	if learned.IsValid() && learned != old.signal && learned.Addr() == p.signal.Addr() && !p.asym {
		return
	}
	s.rtpLatch.dst = s.session.embedded.destination(p.signal, p.source)
	s.rtcpLatch.dst = s.session.embedded.destination(p.rtcpSignal(), p.source)
}

func (e *Embedded) destination(a netip.AddrPort, source netip.Addr) endpoint {
	if !a.IsValid() || a.Port() == 0 {
		return endpoint{}
	}
	if !e.permitted(a, source) {
		e.denied.Add(1)
		return endpoint{}
	}
	return endpointOf(a)
}
