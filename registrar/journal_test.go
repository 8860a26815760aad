package registrar_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/registrar"
	"github.com/sipkit/sipkit/registrar/registrartest"
)

func TestJournalKit(t *testing.T) {
	for name, cfg := range map[string]registrar.JournalConfig{
		"Write":      {},
		"Async":      {Mode: registrar.Async},
		"Sync":       {Mode: registrar.Sync},
		"Gather":     {Gather: true},
		"compacting": {CompactAt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dirs := map[registrar.Store]string{}
			open := func(t *testing.T, dir string) registrar.Store {
				j, err := registrar.OpenJournal(dir, cfg)
				require.NoError(t, err)
				require.Empty(t, j.Stats().Damage)
				t.Cleanup(func() { _ = j.Close() })
				dirs[j] = dir
				return j
			}
			fresh := func(t *testing.T) registrar.Store { return open(t, t.TempDir()) }
			registrartest.TestStore(t, fresh)
			registrartest.TestDurable(t, fresh, func(t *testing.T, s registrar.Store) registrar.Store {
				require.NoError(t, s.Close())
				return open(t, dirs[s])
			})
		})
	}
}
