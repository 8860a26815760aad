//go:build linux

package registrar

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkMemorySweep takes out what has expired and reports the longest hold of a shard's lock, which is all that a Lookup
// can wait for: in processor time of the sweeping thread, so without what other processes took.
func BenchmarkMemorySweep(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		m := new(Memory)
		m.once.Do(m.init)
		m.expiry.stop() // it is done by hand
		at := time.Now().Add(100 * time.Millisecond)
		for i := range big(b) {
			aor, x := usual(i)
			x.Expires = time.Now().Add(100 * time.Millisecond)
			at = x.Expires
			require.NoError(b, m.Update(b.Context(), aor, func([]Binding) ([]Binding, error) { return []Binding{x}, nil }))
		}
		time.Sleep(time.Until(at) + 2*time.Second) // a tick late at most
		longest, start := int64(0), threadTime(b)
		for i := range m.shards {
			for more := true; more; {
				begin := threadTime(b)
				more = m.sweepShard(&m.shards[i])
				longest = max(longest, threadTime(b)-begin)
			}
		}
		require.Zero(b, m.aors.Load())
		b.ReportMetric(float64(longest)/1e3, "longest-hold-cpu-us")
		b.ReportMetric(float64(threadTime(b)-start)/1e6, "all-cpu-ms")
		m.Close()
	}
}

func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return t.Nano()
}
