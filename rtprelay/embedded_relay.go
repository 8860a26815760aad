package rtprelay

import "net/netip"

// relayPort is one bound socket; it belongs to one side of one session.
type relayPort struct {
	side  *relaySide
	sock  relaySocket
	num   uint16
	rtcp  bool
	burst int64 // when it was last read, in the loop's time

	second int64  // began then
	taken  uint32 // packets in it
}

// flooded counts a packet, and reports whether it is beyond the limit of this second.
func (p *relayPort) flooded(limit uint32, now int64) bool {
	if now-p.second >= 1e9 {
		p.second, p.taken = now, 0
	}
	p.taken++
	return p.taken > limit
}

// receive carries one packet across. The lock of the loop is held; b is the loop's buffer, from is unmapped.
func (p *relayPort) receive(b []byte, from netip.AddrPort, now int64) {
	in := p.side
	s := in.session
	s.count.packets++
	s.count.bytes += uint64(len(b))
	class := classify(b)
	if class == classNone {
		if !s.opaque {
			s.count.malformed++
			return
		}
		class = classOther
	}
	if !in.admit(p, from, class, b, now) {
		s.count.strangers++
		return
	}
	if p.flooded(s.embedded.set.rate, now) {
		s.count.flooded++
		return
	}
	s.last, in.heard = now, now
	in.packets++
	in.bytes += uint64(len(b))
	if class == classRTP {
		in.recv.packet(b, now, in.clocks)
	}
	if s.rec != nil {
		s.rec.packet(b, from, netip.AddrPortFrom(in.net.Addr, p.num), now)
	}
	if in.copy != nil {
		in.copy.packet(b, class == classRTCP || class != classRTP && p.rtcp, from, netip.AddrPortFrom(in.net.Addr, p.num), now)
	}
	out := &s.sides[1-in.index]
	if class == classRTP && !p.rtcp {
		if in.cut != nil {
			s.count.resizedIn++
			in.cut.packet(b, out)
			return
		}
		out.sendRTP(b)
		return
	}
	out.send(b, class, in.muxed(p, class))
}

// muxed notes how RTCP comes in: who sends it on the RTP port takes it there too, RFC 5761 section 5.1.1.
func (s *relaySide) muxed(p *relayPort, class packetClass) bool {
	if class == classRTCP {
		s.mux = !p.rtcp
	}
	return !p.rtcp
}

// sendRTP sends to the party of this side.
func (s *relaySide) sendRTP(b []byte) {
	if s.play != nil {
		s.session.count.undeliverable++
		return
	}
	s.deliver(s.rtp, &s.rtpLatch.dst, b)
}

// send is for all but RTP: on the port that it came by, but RTCP where the party is known to expect it.
func (s *relaySide) send(b []byte, class packetClass, onRTP bool) {
	if class == classRTCP && s.mux != onRTP && (s.mux || s.rtcpLatch.rank != rankNone || s.separate) {
		onRTP = s.mux
	}
	if onRTP {
		s.deliver(s.rtp, &s.rtpLatch.dst, b)
		return
	}
	s.deliver(s.rtcp, &s.rtcpLatch.dst, b)
}

func (s *relaySide) deliver(p *relayPort, to *endpoint, b []byte) {
	c := &s.session.count
	if p == nil || !to.addr.IsValid() || s.party.hold || !s.session.loop.send(p.sock, b, to) {
		c.undeliverable++
		return
	}
	c.relayed++
	s.sent++
}
