package sipproxy

import (
	"encoding/base64"
	"encoding/binary"
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

func TestSign(t *testing.T) {
	k := newSipKey([]byte("s"), "sign")
	for _, x := range []string{"", "a", "call@host"} {
		sig := k.sign("p", []string{x, "y"})
		raw, err := base64.RawURLEncoding.Strict().DecodeString(string(sig[:]))
		require.NoError(t, err)
		require.Equal(t, k.sum(append(append([]byte{1, 'p', byte(len(x))}, x...), 1, 'y')), binary.BigEndian.Uint64(raw))
	}
	require.NotEqual(t, k.sign("p", []string{"a", "bc"}), k.sign("p", []string{"ab", "c"}))
	require.NotEqual(t, k.sign("p", []string{"a"}), k.sign("q", []string{"a"}))
}

// What is hashed for loops is told apart by every octet, and by where the parts end.
func TestLoopSum(t *testing.T) {
	seen := map[loopSum][]string{}
	for _, parts := range [][]string{
		{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"a", "b"}, {"ab"}, {"ab", ""}, {"", "ab"}, {"\x00"}, {"\x00\x00"}, {"a\x00"}, {"\x00a"},
		{"12345678"}, {"12345678", ""}, {"1234567", "8"}, {"123456789"}, {"12345678", "9"}, {"1", "23456789"}, {"1234567812345678"}, {"12345678", "12345678"},
		{"12345678\x00"}, {"2234567812345678"}, {"1234567822345678"},
	} {
		h := loopSum(7).add(parts)
		require.NotContains(t, seen, h, "%q and %q", parts, seen[h])
		seen[h] = parts
	}
	require.Equal(t, loopSum(7).add([]string{"a", "b"}), loopSum(7).add([]string{"a"}).add([]string{"b"}))
	require.NotEqual(t, loopSum(7).add([]string{"a"}), loopSum(8).add([]string{"a"}))
}
