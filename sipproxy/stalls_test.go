package sipproxy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStalls: stalls here and there are the machine's, many in a second are the handler's.
func TestStalls(t *testing.T) {
	var w stalls
	now := time.Unix(1000, 0)
	for range 10 * stallsTooFew {
		now = now.Add(stallWindow / 4)
		require.False(t, w.note(now))
	}
	now = now.Add(2 * stallWindow)
	for range stallsTooFew - 1 {
		now = now.Add(time.Millisecond)
		require.False(t, w.note(now))
	}
	require.True(t, w.note(now), "goroutines from here")
	require.False(t, w.note(now), "told once")
	require.NotZero(t, w.until.Load())
}
