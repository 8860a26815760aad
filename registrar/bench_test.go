//go:build unix

package registrar

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func fill(tb testing.TB, s Store, n int) []AOR {
	aors := make([]AOR, n)
	for i := range n {
		aor, b := usual(i)
		aors[i] = aor
		require.NoError(tb, s.Update(context.Background(), aor, func([]Binding) ([]Binding, error) { return []Binding{b}, nil }))
	}
	return aors
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapInuse
}

// big is how many bindings the large benchmarks hold.
func big(b *testing.B) int {
	if os.Getenv("SIPKIT_MILLION") != "" {
		return 1_000_000
	}
	return 100_000
}

func BenchmarkMemoryPerBinding(b *testing.B) {
	n := big(b)
	for b.Loop() {
		before := heap()
		m := new(Memory)
		for i := range n {
			aor, x := usual(i)
			_ = m.Update(b.Context(), aor, func([]Binding) ([]Binding, error) { return []Binding{x}, nil })
		}
		b.ReportMetric(float64(heap()-before)/float64(n), "B/binding")
		m.Close()
	}
}

// BenchmarkMemoryLookup looks up in another place each time, by an address that was just written, as that of a request was: a million
// addresses kept for the benchmark would be one more cache miss, or two.
func BenchmarkMemoryLookup(b *testing.B) {
	m := new(Memory)
	defer m.Close()
	n := len(fill(b, m, big(b)))
	b.Run("append", func(b *testing.B) {
		room := make([]Binding, 0, 1)
		benchLookup(b, n, func(aor AOR) ([]Binding, error) { return m.AppendLookup(b.Context(), room, aor) })
	})
	b.Run("new", func(b *testing.B) {
		benchLookup(b, n, func(aor AOR) ([]Binding, error) { return m.Lookup(b.Context(), aor) })
	})
}

func benchLookup(b *testing.B, n int, find func(AOR) ([]Binding, error)) {
	var buf [64]byte
	first, _ := usual(0)
	key := buf[:copy(buf[:], first)]
	digits := key[strings.IndexByte(string(first), '@')-8:][:8]
	i := 0
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		i = (i + 791_911) % n
		for j, rest := len(digits)-1, i; j >= 0; j, rest = j-1, rest/10 {
			digits[j] = byte('0' + rest%10)
		}
		if bs, err := find(AOR(unsafe.String(&key[0], len(key)))); err != nil || len(bs) != 1 {
			b.Fatal(len(bs), err)
		}
	}
}

// cpu starts measuring the processor time of the whole process, collector included, which says more than wall time on a busy machine.
func cpu(b *testing.B) (report func()) {
	start := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op") }
}

func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}

func benchUpsert(b *testing.B, s Store) {
	aors := fill(b, s, big(b))
	now := time.Now()
	next := make([]Binding, 0, 1)
	i := 0
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		i = (i + 7919) % len(aors)
		err := s.Update(b.Context(), aors[i], func(old []Binding) ([]Binding, error) {
			next = append(next[:0], old...)
			next[0].CSeq++
			next[0].Expires = now.Add(time.Hour + time.Duration(next[0].CSeq))
			return next, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMemoryUpsert(b *testing.B) {
	m := new(Memory)
	defer m.Close()
	benchUpsert(b, m)
}
