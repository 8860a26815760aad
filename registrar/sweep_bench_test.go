//go:build linux

package registrar

import (
	"bytes"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkMemorySweep takes out what has expired and reports the longest hold of a shard's lock, in processor time of the sweeping
// thread, so without what other processes took.
func BenchmarkMemorySweep(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		m := expired(b)
		longest, start := int64(0), threadTime(b)
		for i := range m.shards {
			for steps := sweepStep; steps == sweepStep; {
				begin := threadTime(b)
				steps = m.sweepShard(&m.shards[i])
				longest = max(longest, threadTime(b)-begin)
			}
		}
		require.Zero(b, m.aors.Load())
		b.ReportMetric(float64(longest)/1e3, "longest-hold-cpu-us")
		b.ReportMetric(float64(threadTime(b)-start)/1e6, "all-cpu-ms")
		m.Close()
	}
}

// BenchmarkMemoryExpiry looks up live bindings while the others expire, and, to compare, while nothing happens. It reports the longest
// Lookup by the clock, and without the time for which the system had its thread ready but no processor for it: only that, which is
// waiting for locks and for the scheduler and collector of Go besides the work itself, can be the store's.
func BenchmarkMemoryExpiry(b *testing.B) {
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			m := expired(b)
			start := time.Now()
			m.expiry.done = false
			m.expiry.timer = time.AfterFunc(0, m.sweep)
			lookUpUntil(b, m, func() bool { return m.aors.Load() == live })
			b.ReportMetric(time.Since(start).Seconds(), "s-until-all-gone")
			m.Close()
		}
	})
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			m := expired(b)
			end := time.Now().Add(2 * time.Second)
			lookUpUntil(b, m, func() bool { return time.Now().After(end) })
			m.Close()
		}
	})
}

// expired returns a store full of what has expired and was not taken out.
func expired(b *testing.B) *Memory {
	m := new(Memory)
	m.once.Do(m.init)
	m.expiry.stop() // it is done by hand
	var at time.Time
	for i := range big(b) {
		aor, x := usual(i)
		at = time.Now().Add(100 * time.Millisecond)
		x.Expires = at
		require.NoError(b, m.Update(b.Context(), aor, func([]Binding) ([]Binding, error) { return []Binding{x}, nil }))
	}
	time.Sleep(time.Until(at) + 2*time.Second) // a tick late at most
	return m
}

// live is how many bindings are there to be looked up, in all shards.
const live = 10_000

func lookUpUntil(b *testing.B, m *Memory, done func() bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	aors := make([]AOR, live)
	for i := range aors {
		aor, x := usual(big(b) + i)
		aors[i] = aor
		require.NoError(b, m.Update(b.Context(), aor, func([]Binding) ([]Binding, error) { return []Binding{x}, nil }))
	}
	stat, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY, 0)
	require.NoError(b, err)
	defer func() { _ = unix.Close(stat) }()
	var longest, own time.Duration
	room, n := make([]Binding, 0, 1), 0
	for ; !done(); n++ {
		waited, start := queued(b, stat), time.Now()
		bs, err := m.AppendLookup(b.Context(), room, aors[n%live])
		took := time.Since(start)
		waited = queued(b, stat) - waited
		if err != nil || len(bs) != 1 {
			b.Fatal(len(bs), err)
		}
		longest, own = max(longest, took), max(own, took-waited)
	}
	b.ReportMetric(longest.Seconds()*1e3, "longest-lookup-ms")
	b.ReportMetric(own.Seconds()*1e3, "longest-with-a-processor-ms")
	b.ReportMetric(float64(n), "lookups")
}

// queued is how long the thread was ready to run and had no processor (Documentation/scheduler/sched-stats.rst of Linux).
func queued(b *testing.B, stat int) time.Duration {
	var buf [96]byte
	n, err := unix.Pread(stat, buf[:], 0)
	require.NoError(b, err)
	_, rest, _ := bytes.Cut(buf[:n], []byte(" "))
	ns, _, _ := bytes.Cut(rest, []byte(" "))
	wait, err := strconv.ParseInt(string(ns), 10, 64)
	require.NoError(b, err)
	return time.Duration(wait)
}

func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return t.Nano()
}
