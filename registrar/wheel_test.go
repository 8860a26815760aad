package registrar

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The wheel against a plain map, under random adding, removing and passing of time.
func TestWheelAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w wheel
		w.now = 1_700_000_000
		now := w.now
		model := map[uint32]bool{}
		l := make([]entry, 1)
		for range 3000 {
			switch r.IntN(4) {
			case 0, 1:
				e := uint32(len(l))
				l = append(l, entry{when: now + r.Int64N(1<<r.IntN(20)) - 2})
				w.add(l, e)
				model[e] = true
			case 2:
				for e := range model {
					w.remove(l, e)
					w.remove(l, e)
					delete(model, e)
					break
				}
			case 3:
				now += r.Int64N(1 << r.IntN(16))
				drain(t, &w, l, now, model)
			}
			require.LessOrEqual(t, w.next(), max(w.now, earliest(l, model)), "next is too late")
		}
		now += 1 << 21
		drain(t, &w, l, now, model)
		require.Empty(t, model)
		require.EqualValues(t, never, w.next())
		require.Zero(t, w.due)
	}
}

// drain pops in pieces, as the sweeper does, with other work between them.
func drain(t *testing.T, w *wheel, l []entry, now int64, model map[uint32]bool) {
	t.Helper()
	for steps := 0; ; steps++ {
		require.Less(t, steps, 100_000)
		e, more := w.pop(l, now)
		if e != 0 {
			require.True(t, model[e], "popped twice or never added")
			require.LessOrEqual(t, l[e].when, now, "popped too early")
			delete(model, e)
		}
		if !more {
			break
		}
		if steps%7 == 0 {
			for e := range model { // one goes in the middle of the sweep, and comes back later
				w.remove(l, e)
				l[e].when += 3
				w.add(l, e)
				break
			}
		}
	}
	for e := range model {
		require.Greater(t, l[e].when, now, "left behind")
	}
}

func earliest(l []entry, model map[uint32]bool) int64 {
	first := int64(never)
	for e := range model {
		first = min(first, l[e].when)
	}
	return first
}
