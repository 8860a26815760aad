package sipproxy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The vectors are those of the paper: key 00 01 .. 0f, input 00 01 .. n-1.
func TestSipHash(t *testing.T) {
	k := sipKey{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	in := make([]byte, 15)
	for i := range in {
		in[i] = byte(i)
	}
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		require.Equal(t, want, k.sum(in[:n]), n)
	}
	require.Equal(t, newSipKey([]byte("s"), "a"), newSipKey([]byte("s"), "a"))
	require.NotEqual(t, newSipKey([]byte("s"), "a"), newSipKey([]byte("s"), "b"))
	require.NotEqual(t, newSipKey([]byte("s"), "a"), newSipKey([]byte("t"), "a"))
}
