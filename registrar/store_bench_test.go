//go:build unix

package registrar

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkMemoryExpiry lets all bindings expire in one second and reports the longest Lookup meanwhile: by the clock, which on a busy machine
// counts what other processes took, and by the processor time that this process had during it, on all processors.
func BenchmarkMemoryExpiry(b *testing.B) {
	n := big(b)
	for b.Loop() {
		m := new(Memory)
		aors := fill(b, m, n)
		at := time.Now().Add(time.Duration(n) * 30 * time.Microsecond) // behind the loop that follows
		for _, aor := range aors {
			_ = m.Update(b.Context(), aor, func(old []Binding) ([]Binding, error) {
				x := old[0]
				x.Expires = at
				return []Binding{x}, nil
			})
		}
		var longest, longestCPU int64
		deadline := time.Now().Add(time.Minute)
		for i := 0; m.Stats().AORs > 0 && time.Now().Before(deadline); i++ {
			start, cpu := time.Now(), cpuTime(b)
			_, _ = m.Lookup(b.Context(), aors[i%n])
			longest, longestCPU = max(longest, int64(time.Since(start))), max(longestCPU, cpuTime(b)-cpu)
		}
		b.ReportMetric(float64(longest)/1e6, "longest-lookup-ms")
		b.ReportMetric(float64(longestCPU)/1e6, "longest-lookup-cpu-ms")
		b.ReportMetric(time.Since(at).Seconds(), "s-until-all-gone")
		m.Close()
	}
}

func BenchmarkJournalUpsert(b *testing.B) {
	for name, cfg := range map[string]JournalConfig{"write": {}, "gather32": {Gather: true}} {
		b.Run(name, func(b *testing.B) {
			j, err := OpenJournal(b.TempDir(), cfg)
			require.NoError(b, err)
			defer j.Close()
			if cfg.Gather {
				benchUpsert(b, &flushing{Journal: j, every: 32})
				return
			}
			benchUpsert(b, j)
		})
	}
}

// flushing calls Flush once in every so many Updates, as a reader does after a batch of datagrams.
type flushing struct {
	*Journal
	every, n int
}

func (s *flushing) Update(ctx context.Context, aor AOR, f func(old []Binding) ([]Binding, error)) error {
	err := s.Journal.Update(ctx, aor, f)
	if s.n++; s.n%s.every == 0 {
		err = s.Flush(ctx)
	}
	return err
}

func BenchmarkJournalRestart(b *testing.B) {
	dir, n := b.TempDir(), big(b)
	j, err := OpenJournal(dir, JournalConfig{Mode: Async})
	require.NoError(b, err)
	fill(b, j, n)
	require.NoError(b, j.Close())
	defer cpu(b)()
	for b.Loop() {
		start := time.Now()
		j, err := OpenJournal(dir, JournalConfig{})
		require.NoError(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/open")
		require.Equal(b, n, j.Stats().Loaded)
		require.NoError(b, j.Close())
	}
}
