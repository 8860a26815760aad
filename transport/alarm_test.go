package transport

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAlarm is about order, not about time: what was set fires, what was stopped or replaced does not.
func TestAlarm(t *testing.T) {
	for name, n := range map[string]Net{"system": SystemNet{}, "other": struct{ Net }{}} {
		t.Run(name, func(t *testing.T) {
			fired := make(chan struct{}, 16)
			var a Alarm
			ready := make(chan struct{})
			var again atomic.Int32
			again.Store(2)
			a = newAlarm(n, func() {
				<-ready
				fired <- struct{}{}
				if again.Add(-1) > 0 {
					a.Set(time.Millisecond)
				}
			})
			close(ready)
			a.Set(0)
			<-fired
			<-fired // set from inside
			a.Set(time.Hour)
			a.Set(time.Millisecond)
			<-fired
			stopInTime(a, fired)
			later := make(chan struct{})
			b := newAlarm(n, func() { close(later) })
			b.Set(1200 * time.Millisecond)
			<-later
			b.Close()
			require.Empty(t, fired, "stopped")
			a.Set(time.Hour)
			a.Close()
			a.Set(0)
			a.Close()
			require.Empty(t, fired)
		})
	}
}

// stopInTime sets and stops an alarm, once more where the machine was too busy to do both before it was due.
func stopInTime(a Alarm, fired <-chan struct{}) {
	for {
		start := time.Now()
		a.Set(time.Second)
		a.Stop()
		if time.Since(start) < time.Second {
			return
		}
		select {
		case <-fired:
		case <-time.After(time.Second): // not begun
		}
	}
}
