package rtprelay

import (
	"encoding/binary"
	"time"
)

const rtpHeader = 12

// repacketizer joins or splits the packets of one RTP stream to one length. It numbers the packets anew, so it sees all of them; RTCP
// reports of the two ends then count different packets.
type repacketizer struct {
	length time.Duration
	ssrc   uint32
	pt     byte
	frame  frame
	live   bool
	seq    uint16 // of the next packet out
	nextTS uint32 // expected in
	inSeq  uint16 // of the last packet in
	held   int    // payload bytes in buf
	buf    [rtpHeader + maxRepacket]byte
}

const maxRepacket = 8000 + 2048 // 1 s of the densest codec, the length limit of RTPProxy, and what one packet may add

// with gives what a further description asks for: nothing changes for the same length.
func (r *repacketizer) with(d time.Duration) *repacketizer {
	switch {
	case d <= 0:
		return nil
	case r != nil && r.length == d:
		return r
	}
	return &repacketizer{length: min(d, time.Second)}
}

// packet takes an RTP packet from one party and sends what is due to the other.
func (r *repacketizer) packet(b []byte, out *relaySide) {
	seq, ts := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])
	ssrc, pt := binary.BigEndian.Uint32(b[8:]), b[1]&0x7f
	if !r.live || ssrc != r.ssrc {
		r.flush(out)
		r.live, r.ssrc, r.seq = true, ssrc, seq
	} else if back := r.inSeq - seq; back < 0x8000 {
		return // a copy, or too late to be put in order
	}
	r.inSeq = seq
	f, ok := frameOf(pt)
	// Padding, extensions and contributing sources would have to be carried over: such packets pass alone, as does what has other frames.
	if !ok || b[0] != 0x80 || len(b) == rtpHeader || len(b)-rtpHeader > maxRepacket/2 || (len(b)-rtpHeader)%f.bytes != 0 {
		r.flush(out)
		r.alone(b, out)
		return
	}
	if r.held > 0 && (pt != r.pt || ts != r.nextTS || b[1]&0x80 != 0) {
		r.flush(out)
	}
	r.append(b, ts, pt, f, out)
}

func (r *repacketizer) append(b []byte, ts uint32, pt byte, f frame, out *relaySide) {
	payload := b[rtpHeader:]
	if r.held == 0 {
		copy(r.buf[:rtpHeader], b)
	}
	r.pt, r.frame = pt, f
	r.held += copy(r.buf[rtpHeader+r.held:], payload)
	r.nextTS = ts + uint32(len(payload)/f.bytes)*f.ticks
	for full := f.in(r.length); r.held >= full; {
		r.emit(full, out)
	}
}

// emit sends the first n payload bytes and keeps the rest under a header of its own.
func (r *repacketizer) emit(n int, out *relaySide) {
	binary.BigEndian.PutUint16(r.buf[2:], r.seq)
	r.seq++
	out.session.count.resizedOut++
	out.sendRTP(r.buf[:rtpHeader+n])
	rest := copy(r.buf[rtpHeader:], r.buf[rtpHeader+n:rtpHeader+r.held])
	r.held = rest
	r.buf[1] &= 0x7f // the marker was that of the first
	ts := binary.BigEndian.Uint32(r.buf[4:])
	binary.BigEndian.PutUint32(r.buf[4:], ts+uint32(n/r.frame.bytes)*r.frame.ticks)
}

func (r *repacketizer) flush(out *relaySide) {
	if r.held > 0 {
		r.emit(r.held, out)
	}
}

// alone passes a packet as it is, but in our count.
func (r *repacketizer) alone(b []byte, out *relaySide) {
	binary.BigEndian.PutUint16(b[2:], r.seq) // b is the loop's buffer
	r.seq++
	out.session.count.resizedOut++
	out.sendRTP(b)
}
