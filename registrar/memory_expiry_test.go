package registrar

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sipkit/sipkit/sip"
)

func armed(m *Memory) bool { return m.expiry.armed.Load() != never }

// Memory of what expires is freed within a tick, and nothing is armed when nothing is there.
func TestMemoryExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := new(Memory)
		defer m.Close()
		for i := range 1000 {
			put(t, m, fmt.Sprint(i, "@x"), time.Duration(i+1)*time.Second)
		}
		put(t, m, "weeks@x", 21*24*time.Hour)
		for i := range 1000 {
			time.Sleep(time.Second)
			synctest.Wait()
			require.InDelta(t, 1000-i, m.Stats().AORs, 1, "after %d s", i+1)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 1, m.Stats().AORs)
		require.True(t, armed(m))
		time.Sleep(21 * 24 * time.Hour)
		synctest.Wait()
		require.Zero(t, m.Stats().AORs)
		require.False(t, armed(m), "a timer for an empty store")
		put(t, m, "again@x", time.Hour)
		require.True(t, armed(m))
		require.NoError(t, m.Update(t.Context(), "again@x", func([]Binding) ([]Binding, error) { return nil, nil }))
		require.False(t, armed(m))
		put(t, m, "last@x", time.Minute)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Zero(t, m.Stats().AORs)
	})
}

// A crowd that expires at once is taken out in bursts with rests between them, in which others have the processor, and is gone soon all the same.
func TestMemoryRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(Memory)
		defer m.Close()
		for i := range 20 * sweepBurst {
			put(t, m, fmt.Sprint(i), time.Second)
		}
		time.Sleep(time.Second - sweepRest/2) // the sweep begins at a whole second, which synctest's clock started at
		synctest.Wait()
		rests := 0
		for left := m.Stats().AORs; left > 0; rests++ {
			time.Sleep(sweepRest)
			synctest.Wait()
			was := left
			left = m.Stats().AORs
			require.LessOrEqual(t, was-left, sweepBurst+sweepStep)
			require.Less(t, rests, 100)
		}
		require.Greater(t, rests, 20)
	})
}

func put(t testing.TB, s Store, aor string, life time.Duration) {
	t.Helper()
	require.NoError(t, s.Update(context.Background(), AOR(aor), func([]Binding) ([]Binding, error) {
		return []Binding{{Contact: sip.URI{Scheme: "sip", User: aor, Host: "h"}, Expires: time.Now().Add(life)}}, nil
	}))
}

// A phone that refreshes at half its time never expires; the day after its last refresh it has.
func TestMemoryRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(Memory)
		defer m.Close()
		var events []EventKind
		go func() { _ = m.Watch(t.Context(), func(e Event) { events = append(events, e.Kind) }) }()
		synctest.Wait()
		for range 50 {
			put(t, m, "a@x", time.Hour)
			time.Sleep(30 * time.Minute)
		}
		synctest.Wait()
		require.NotContains(t, events, Expired)
		put(t, m, "a@x", time.Minute) // sooner than it was filed for
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Equal(t, Expired, events[len(events)-1])
		require.Len(t, events, 52)
		require.Zero(t, m.Stats().AORs)
	})
}

// A watcher that does not keep up loses events, which are counted, and holds up nobody.
func TestMemorySlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{EventQueue: 10}
		defer m.Close()
		gate, told := make(chan struct{}), 0
		go func() {
			_ = m.Watch(t.Context(), func(Event) {
				told++
				<-gate
			})
		}()
		synctest.Wait()
		for i := range 100 {
			put(t, m, fmt.Sprint(i), time.Hour)
			synctest.Wait()
		}
		require.EqualValues(t, 100-1-10, m.Stats().EventsDropped)
		close(gate)
		synctest.Wait()
		require.Equal(t, 11, told)
	})
}

func TestMemoryFull(t *testing.T) {
	m := &Memory{MaxAORs: 2}
	defer m.Close()
	put(t, m, "a", time.Hour)
	put(t, m, "b", time.Hour)
	f := func([]Binding) ([]Binding, error) { return []Binding{{Expires: time.Now().Add(time.Hour)}}, nil }
	require.ErrorIs(t, m.Update(t.Context(), "c", f), ErrFull)
	require.NoError(t, m.Update(t.Context(), "a", f), "those who are in may refresh")
	require.EqualValues(t, 1, m.Stats().Refused)
	require.NoError(t, m.Update(t.Context(), "a", func([]Binding) ([]Binding, error) { return nil, nil }))
	require.NoError(t, m.Update(t.Context(), "c", f))
}

// Two addresses with one hash are two addresses.
func TestTableTwins(t *testing.T) {
	var tab table
	const now = 1_700_000_000 * tick
	twin := func(aor AOR) text {
		return makeText(AppendBindings(appendText(nil, aor), []Binding{{CallID: string(aor), Expires: time.Unix(1_700_000_100, 0)}}), len(aor))
	}
	for _, aor := range []AOR{"a", "b", "c"} {
		tab.insert(42, twin(aor), now)
	}
	for _, aor := range []AOR{"a", "b", "c"} {
		bs, err := DecodeBindings(tab.state(42, aor))
		require.NoError(t, err)
		require.Equal(t, string(aor), bs[0].CallID)
	}
	tab.remove(tab.find(42, "a"))
	require.Equal(t, nowhere, tab.find(42, "a"))
	tab.replace(tab.find(42, "b"), twin("b"))
	require.NotEqual(t, nowhere, tab.find(42, "b"))
	require.NotEqual(t, nowhere, tab.find(42, "c"))
	tab.insert(42, twin("a"), now)
	require.NotEqual(t, tab.find(42, "a"), tab.find(42, "c"))
	for _, aor := range []AOR{"c", "a", "b"} {
		tab.remove(tab.find(42, aor))
		require.Equal(t, nowhere, tab.find(42, aor))
	}
	require.Zero(t, tab.len())
	require.EqualValues(t, never, tab.wheel.next())
}
