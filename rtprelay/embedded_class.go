package rtprelay

// packetClass is what a datagram looks like by its first bytes, RFC 7983 section 7 and RFC 5761 section 4.
type packetClass uint8

const (
	classNone packetClass = iota
	classRTP              // SRTP too
	classRTCP             // SRTCP too
	classSTUN
	classDTLS
	classOther // of a stream that is not RTP, such as T.38
)

// classify never reads beyond the fixed headers; what it lets pass stays opaque.
func classify(b []byte) packetClass {
	if len(b) < 8 {
		return classNone
	}
	switch first := b[0]; {
	case first>>6 == 2:
		// RTCP types are 192 to 223: as RTP they would be payload types 64 to 95 with the marker set, which RFC 5761 keeps free.
		if b[1] >= 192 && b[1] <= 223 {
			return classRTCP
		}
		if len(b) >= 12 {
			return classRTP
		}
	case first <= 3:
		// The magic cookie of RFC 8489: older STUN is not worth being open to everything that begins with 0.
		if len(b) >= 20 && b[4] == 0x21 && b[5] == 0x12 && b[6] == 0xa4 && b[7] == 0x42 {
			return classSTUN
		}
	case first >= 20 && first <= 63:
		if len(b) >= 13 {
			return classDTLS
		}
	}
	return classNone
}
