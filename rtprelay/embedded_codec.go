package rtprelay

import "time"

// frame describes a codec whose packets may be cut anywhere between frames of one size.
type frame struct {
	bytes int
	ticks uint32 // of the RTP timestamp
	time  time.Duration
}

// frameOf knows the static payload types with constant frames, RFC 3551 sections 4.5 and 6.
func frameOf(pt byte) (frame, bool) {
	switch pt {
	case 0, 8, 9: // PCMU, PCMA, and G722, whose clock is 8000 Hz for historical reasons
		return frame{8, 8, time.Millisecond}, true
	case 3: // GSM
		return frame{33, 160, 20 * time.Millisecond}, true
	case 18: // G729; its 2-byte comfort noise is no multiple and passes as it is
		return frame{10, 80, 10 * time.Millisecond}, true
	case 4: // G723 at 6.3 kbit/s
		return frame{24, 240, 30 * time.Millisecond}, true
	}
	return frame{}, false
}

// in is the bytes of d worth of frames, at least one.
func (f frame) in(d time.Duration) int { return int(max(1, d/f.time)) * f.bytes }
