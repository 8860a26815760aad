package registrar

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

// Lists of methods are shared by who has the same, up to a bound; each is the right one.
func TestMethodLists(t *testing.T) {
	var m methodLists
	for range 2 { // the second time it would be known, were it kept
		_, ok := m.of(string([]byte{1, byte(len(methodCodes))}))
		require.False(t, ok, "no such code")
	}
	for round := range 2 {
		for n := 1; n < len(methodCodes); n++ {
			for first := 1; first+n <= len(methodCodes); first++ {
				codes := make([]byte, n)
				for i := range codes {
					codes[i] = byte(first + i)
				}
				list, ok := m.of(string(codes))
				require.True(t, ok)
				require.Equal(t, methodCodes[first:first+n], list)
			}
		}
		require.Len(t, *m.known.Load(), knownLists, "round %d", round)
	}
	a, _ := m.of("\x01")
	b, _ := m.of("\x01")
	require.Same(t, &a[0], &b[0])
	require.Equal(t, []sip.Method{sip.INVITE}, a)
}

// A decoded binding has nothing of what lay in its place before.
func TestDecodeOverwrites(t *testing.T) {
	work := sample()
	var err error
	work, err = appendLive(work[:0], string(AppendBindings(nil, sample()[:1])), 0, nil)
	require.NoError(t, err)
	require.Equal(t, sample()[:1], work)
	reused := sample()[1:2]
	reused, err = appendLive(reused[:0], string(AppendBindings(nil, sample()[:1])), 0, nil)
	require.NoError(t, err)
	require.Equal(t, sample()[:1], reused)
}
