package rtprelay

import (
	"encoding/binary"
	"fmt"
)

// wavToG711 encodes a RIFF file of 8000 Hz mono (16-bit linear, A-law or mu-law) as PCMU, or PCMA.
func wavToG711(b []byte, alaw bool) ([]byte, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, fmt.Errorf("rtprelay: not a WAV file")
	}
	format := uint16(0)
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		chunk := b[:min(size, len(b))] // a streamed file has no size
		switch id {
		case "fmt ":
			if len(chunk) < 16 || binary.LittleEndian.Uint16(chunk[2:]) != 1 || binary.LittleEndian.Uint32(chunk[4:]) != 8000 {
				return nil, fmt.Errorf("rtprelay: WAV file is not 8000 Hz mono")
			}
			format = binary.LittleEndian.Uint16(chunk)
			if bits := binary.LittleEndian.Uint16(chunk[14:]); format == 1 && bits != 16 {
				return nil, fmt.Errorf("rtprelay: WAV file has %d-bit samples", bits)
			}
		case "data":
			return encodeG711(chunk, format, alaw)
		}
		b = b[min(size+size&1, len(b)):]
	}
	return nil, fmt.Errorf("rtprelay: WAV file without data")
}

func encodeG711(in []byte, format uint16, alaw bool) ([]byte, error) {
	encode := muLaw
	if alaw {
		encode = aLaw
	}
	switch {
	case format == 1:
		out := make([]byte, len(in)/2)
		for i := range out {
			out[i] = encode(int16(binary.LittleEndian.Uint16(in[2*i:])))
		}
		return out, nil
	case format == 6 && alaw, format == 7 && !alaw:
		return append([]byte(nil), in...), nil
	case format == 6, format == 7:
		decode := fromALaw
		if format == 7 {
			decode = fromMuLaw
		}
		out := make([]byte, len(in))
		for i, c := range in {
			out[i] = encode(decode(c))
		}
		return out, nil
	}
	return nil, fmt.Errorf("rtprelay: WAV format %d", format)
}

// muLaw is the mu-law encoding of ITU-T G.711: sign, segment, four bits of the interval, all inverted.
func muLaw(v int16) byte {
	const bias, clip = 132, 32635
	x, sign := int(v), byte(0)
	if x < 0 {
		x, sign = -x, 0x80
	}
	x = min(x, clip) + bias
	seg := byte(0)
	for y := x >> 8; y != 0 && seg < 7; y >>= 1 {
		seg++
	}
	return ^(sign | seg<<4 | byte(x>>(seg+3))&0x0f)
}

func fromMuLaw(c byte) int16 {
	c = ^c
	seg := c >> 4 & 7
	x := (int(c&0x0f)<<3+132)<<seg - 132
	if c&0x80 != 0 {
		x = -x
	}
	return int16(x)
}

// aLaw is the A-law encoding of ITU-T G.711: every other bit inverted.
func aLaw(v int16) byte {
	x, sign := int(v)>>3, byte(0x80)
	if x < 0 {
		x, sign = -x-1, 0
	}
	seg := byte(0)
	for y := x >> 5; y != 0 && seg < 7; y >>= 1 {
		seg++
	}
	low := byte(x>>1) & 0x0f
	if seg > 1 {
		low = byte(x>>seg) & 0x0f
	}
	return (sign | seg<<4 | low) ^ 0x55
}

func fromALaw(c byte) int16 {
	c ^= 0x55
	seg := c >> 4 & 7
	x := int(c&0x0f)<<4 + 8
	if seg > 0 {
		x = (x + 0x100) << (seg - 1)
	}
	if c&0x80 == 0 {
		x = -x
	}
	return int16(x)
}
