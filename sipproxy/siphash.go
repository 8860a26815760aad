package sipproxy

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// A sipKey is a key of SipHash-2-4 (Aumasson and Bernstein, 2012), a keyed hash for short inputs. It costs a tenth of SHA-256 for what a branch
// parameter is made of, and unlike hash/maphash it gives every server with the same Keys the same value.
type sipKey struct{ k0, k1 uint64 }

// newSipKey derives a key for one purpose.
func newSipKey(secret []byte, purpose string) sipKey {
	sum := sha256.Sum256(append([]byte(purpose+"\x00"), secret...))
	return sipKey{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

func (k sipKey) sum(b []byte) uint64 {
	v0, v1 := k.k0^0x736f6d6570736575, k.k1^0x646f72616e646f6d
	v2, v3 := k.k0^0x6c7967656e657261, k.k1^0x7465646279746573
	last := uint64(len(b)) << 56
	for len(b) >= 8 {
		m := binary.LittleEndian.Uint64(b)
		b = b[8:]
		v3 ^= m
		v0, v1, v2, v3 = sipRounds(v0, v1, v2, v3, 2)
		v0 ^= m
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRounds(v0, v1, v2, v3, 2)
	v0 ^= last
	v0, v1, v2, v3 = sipRounds(v0, v1, v2^0xff, v3, 4)
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRounds(v0, v1, v2, v3 uint64, n int) (uint64, uint64, uint64, uint64) {
	for range n {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	return v0, v1, v2, v3
}
