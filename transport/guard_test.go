package transport

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A countedAlarm counts how often it goes off.
type countedAlarm struct {
	Alarm
	fired atomic.Int32
}

// watched makes a layer that only watches, and guards of readers that do nothing.
func watched(t *testing.T, n int) (*Layer, *countedAlarm, []*guard, chan *guard) {
	l := New(Config{Net: newMemNet(), Handler: newRecorder(), StallAfter: 8 * time.Millisecond})
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	a := &countedAlarm{}
	a.Alarm = RuntimeAlarm(func() { a.fired.Add(1); l.watch.beat() })
	l.watch.alarm = a
	taken := make(chan *guard, 10)
	guards := make([]*guard, n)
	for i := range guards {
		g := &guard{done: func() {}}
		g.loop = func(turn *turn) { taken <- g; turn.lost = true }
		guards[i] = g
	}
	return l, a, guards, taken
}

// call is one handler call of a length.
func (l *Layer) call(g *guard, d time.Duration) (kept bool) {
	t := &turn{l: l, g: g}
	t.enter()
	time.Sleep(d)
	return t.leave()
}

func TestWatchdogOfOneReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, a, g, taken := watched(t, 1)
		for range 1000 {
			require.True(t, l.call(g[0], time.Millisecond))
			time.Sleep(time.Millisecond)
		}
		require.Zero(t, a.fired.Load(), "pushed ahead while the reader is busy")
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, a.fired.Load(), "nothing is set in silence")

		// Wherever the alarm stands when a call begins: 8 to 16 ms.
		for busy := range 30 {
			for range busy {
				require.True(t, l.call(g[0], time.Millisecond/2))
			}
			start := time.Now()
			done := make(chan bool)
			go func() { done <- l.call(g[0], time.Second) }()
			require.Same(t, g[0], <-taken)
			require.GreaterOrEqual(t, time.Since(start), 7*time.Millisecond)
			require.LessOrEqual(t, time.Since(start), 16*time.Millisecond)
			require.False(t, <-done)
		}
		require.EqualValues(t, 30, l.Stats().Stalls)
	})
}

func TestWatchdogOfTwoReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, g, taken := watched(t, 2)
		stop := make(chan struct{})
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for range 2000 {
				select {
				case <-stop:
					return
				default:
					l.call(g[1], time.Millisecond)
				}
			}
		}()
		for phase := range 16 { // wherever the alarm stands when the call begins
			time.Sleep(time.Duration(phase) * time.Millisecond)
			start := time.Now()
			done := make(chan bool)
			go func() { done <- l.call(g[0], 40*time.Millisecond) }()
			require.Same(t, g[0], <-taken, "however busy the other one is")
			require.GreaterOrEqual(t, time.Since(start), 7*time.Millisecond)
			require.LessOrEqual(t, time.Since(start), 16*time.Millisecond)
			require.False(t, <-done)
		}
		close(stop)
		<-stopped
		require.EqualValues(t, 16, l.Stats().Stalls)
	})
}
