package transaction

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipkit/sipkit/transport"
	"github.com/stretchr/testify/require"
)

// A modelTimer is what the wheel should do with one timer.
type modelTimer struct {
	Timer
	due    Instant // 0: not armed
	latest Instant
	fired  int
}

type expire func()

func (f expire) Expire() { f() }

// TestWheelAgainstModel arms, moves and stops timers at random, over all levels
// of the wheel, and checks that each fires once, never early, at most one slot late.
func TestWheelAgainstModel(t *testing.T) {
	ranges := []time.Duration{time.Millisecond, 50 * time.Millisecond, 6 * time.Second, 6 * time.Minute, 7 * time.Hour, 20 * 24 * time.Hour}
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			l := newLayer(Config{}, &fakeNetwork{})
			var mu sync.Mutex
			timers := make([]modelTimer, 200)
			for i := range timers {
				m := &timers[i]
				m.To = expire(func() {
					mu.Lock()
					defer mu.Unlock()
					now := l.Now()
					if m.due == 0 || now < m.due || now > m.latest {
						t.Errorf("seed %d: timer %d fired at %d, due %d to %d", seed, i, now, m.due, m.latest)
					}
					m.due = 0
					m.fired++
				})
			}
			for range 3000 {
				m := &timers[r.IntN(len(timers))]
				span := ranges[r.IntN(len(ranges))]
				mu.Lock()
				switch r.IntN(4) {
				case 0:
					m.due = 0
					l.StopTimer(&m.Timer)
				default:
					d := time.Duration(r.Int64N(int64(span)))
					m.due = l.Now().add(d)
					m.latest = m.due.add(slotTime)
					l.SetTimer(&m.Timer, d)
				}
				mu.Unlock()
				// Mostly short steps, now and then a long one; never on the edge of a slot.
				step := ranges[r.IntN(3)]
				if r.IntN(50) == 0 {
					step = span
				}
				time.Sleep(time.Duration(r.Int64N(int64(step)))/10*10 + 1)
				synctest.Wait()
			}
			time.Sleep(21 * 24 * time.Hour)
			synctest.Wait()
			total := 0
			for i := range timers {
				require.Zero(t, timers[i].due, "timer %d never fired", i)
				total += timers[i].fired
			}
			require.Positive(t, total)
			require.Zero(t, l.wheel.n)
			require.EqualValues(t, int64(never), l.wheel.armed, "nothing is armed when nothing is pending")
			l.Close()
		})
	}
}

func TestWheelOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNetwork{}
		l := newLayer(Config{}, n)
		var got []int
		held := 0
		var timers [4]Timer
		for i, d := range []time.Duration{60, 30, 30, 10} {
			timers[i].To = expire(func() {
				got = append(got, i)
				held += n.held
				if i == 1 {
					l.StopTimer(&timers[2]) // of the same slot
					l.SetTimer(&timers[3], 0)
				}
			})
			l.SetTimer(&timers[i], d*time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{3, 1, 0, 3}, got)
		require.Equal(t, 4, held, "each ran between Hold and Flush")
		require.Zero(t, n.held)
		// A bubble with a pending timer ends too: the wheel has no goroutine.
		l.SetTimer(&timers[0], time.Hour)
	})
}

// TestWheelLate has the alarm come late: what is set meanwhile must not jump over what is due.
func TestWheelLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now Instant
		var w wheel
		w.init(func() Instant { return now }, func() {}, func() {}, transport.RuntimeAlarm)
		var got []int
		var timers [3]Timer
		for i := range timers {
			timers[i].To = expire(func() { got = append(got, i) })
		}
		w.set(&timers[0].e, &timers[0], Instant(100*time.Millisecond), now)
		now = Instant(6 * time.Second)
		w.set(&timers[1].e, &timers[1], now, now) // due already
		w.set(&timers[2].e, &timers[2], now.add(20*time.Millisecond), now)
		w.run()
		require.Equal(t, []int{0, 1}, got)
		now = now.add(20 * time.Millisecond)
		w.run()
		require.Equal(t, []int{0, 1, 2}, got)
		require.Zero(t, w.n)
		w.close()
	})
}

func TestWheelClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLayer(Config{}, &fakeNetwork{})
		tm := Timer{To: expire(func() { t.Error("fired") })}
		l.SetTimer(&tm, time.Second)
		l.Close()
		l.StopTimer(&tm)
		l.SetTimer(&tm, time.Second)
		time.Sleep(time.Minute)
	})
}

func benchmarkWheel(b *testing.B, pending int) {
	l := newLayer(Config{}, &fakeNetwork{})
	defer l.Close()
	timers := make([]Timer, pending)
	for i := range timers {
		timers[i].To = expire(func() {})
		l.SetTimer(&timers[i], time.Hour+time.Duration(i)*time.Millisecond)
	}
	t := Timer{To: expire(func() {})}
	now := l.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.wheel.set(&t.e, &t, now.add(500*time.Millisecond), now)
		l.wheel.stop(&t.e)
	}
}

func BenchmarkWheel100k(b *testing.B) { benchmarkWheel(b, 100_000) }

func BenchmarkAfterFunc100k(b *testing.B) {
	timers := make([]*time.Timer, 100_000)
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour+time.Duration(i)*time.Millisecond, func() {})
	}
	b.ReportAllocs()
	for b.Loop() {
		time.AfterFunc(500*time.Millisecond, func() {}).Stop()
	}
	for _, t := range timers {
		t.Stop()
	}
}
