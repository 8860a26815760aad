//go:build unix

package registrar

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
