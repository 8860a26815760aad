package rtprelay

import (
	"encoding/binary"
	"time"
)

// rtpStats follows one received RTP stream by RFC 3550 appendices A.1, A.3 and A.8, without probation: a latched source is
// believed. Sums go over changes of SSRC.
type rtpStats struct {
	ssrc     uint32
	base     uint32 // extended
	high     uint32 // extended highest sequence number
	received uint32
	transit  int64 // of the last packet, in timestamp units
	jitter   int64 // times 16
	clock    uint32
	live     bool
	lost     uint64 // of the streams before this one
	changes  uint32 // of SSRC
	repeats  uint32
}

// maxDropout: a bigger step of the sequence number is a restart of the sender, not loss.
const maxDropout = 3000

// clockRate of the static payload types, RFC 3551 section 6; dynamic ones are taken for 8000 Hz unless the description said otherwise.
func clockRate(pt byte, dynamic []rtpClock) uint32 {
	for i := range dynamic {
		if dynamic[i].pt == pt {
			return dynamic[i].rate
		}
	}
	switch pt {
	case 6:
		return 16000
	case 16:
		return 11025
	case 10, 11:
		return 44100
	case 14, 25, 26, 28, 31, 32, 33, 34:
		return 90000
	case 17:
		return 22050
	}
	return 8000
}

// rtpClock is one a=rtpmap of a dynamic payload type.
type rtpClock struct {
	pt   byte
	rate uint32
}

func (r *rtpStats) packet(b []byte, now int64, clocks []rtpClock) {
	seq := binary.BigEndian.Uint16(b[2:])
	ssrc := binary.BigEndian.Uint32(b[8:])
	ts := binary.BigEndian.Uint32(b[4:])
	if !r.live || ssrc != r.ssrc {
		r.restart(ssrc, seq)
		r.clock = clockRate(b[1]&0x7f, clocks)
		r.arrive(ts, now)
		return
	}
	delta := seq - uint16(r.high)
	switch {
	case delta < maxDropout:
		r.high += uint32(delta)
	case delta <= 65535-100: // neither late nor a plausible gap
		r.restart(ssrc, seq)
		r.arrive(ts, now)
		return
	}
	if delta == 0 {
		r.repeats++
	}
	r.received++
	if delta != 0 && delta < maxDropout { // late ones and copies would spoil the estimate
		r.interval(ts, now)
	}
}

// restart closes the account of the stream before. The base leaves room for late packets of the first.
func (r *rtpStats) restart(ssrc uint32, seq uint16) {
	if r.live {
		r.lost += r.missing()
		if ssrc != r.ssrc {
			r.changes++
		}
	}
	r.live, r.ssrc = true, ssrc
	r.base = 1<<16 | uint32(seq)
	r.high, r.received = r.base, 1
}

func (r *rtpStats) missing() uint64 {
	expected := r.high - r.base + 1
	if !r.live || expected <= r.received {
		return 0
	}
	return uint64(expected - r.received)
}

func (r *rtpStats) arrive(ts uint32, now int64) { r.transit = r.units(now) - int64(ts) }

// interval is A.8. Arrivals are known to the length of the loop's gathering, 2 ms.
func (r *rtpStats) interval(ts uint32, now int64) {
	t := r.units(now) - int64(ts)
	d := int64(int32(t - r.transit)) // the timestamp wraps
	r.transit = t
	if d < 0 {
		d = -d
	}
	r.jitter += d - (r.jitter+8)>>4
}

func (r *rtpStats) units(now int64) int64 {
	return now/1e9*int64(r.clock) + now%1e9*int64(r.clock)/1e9
}

func (r *rtpStats) jitterTime() time.Duration {
	if r.clock == 0 {
		return 0
	}
	return time.Duration(r.jitter>>4) * time.Second / time.Duration(r.clock)
}

func (r *rtpStats) totalLost() uint64 { return r.lost + r.missing() }

// continues says whether b goes on with the stream that is known.
func (r *rtpStats) continues(b []byte) bool {
	return r.live && binary.BigEndian.Uint32(b[8:]) == r.ssrc && binary.BigEndian.Uint16(b[2:])-uint16(r.high) < roamDistance
}
