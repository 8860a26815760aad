package transport

import (
	"sync/atomic"
	"time"
)

// An Alarm calls its function, on a goroutine of its own, a time after Set. Set and Stop are cheap and may be called by anybody at any time;
// one Set replaces the other. The function may call Set; a call may then begin before the last has returned.
type Alarm interface {
	Set(d time.Duration)
	Stop()  // does not wait for a call that has begun
	Close() // from then on Set does nothing
}

// An alarmer is a Net whose clock is the system's, and that has a cheaper way to wait for it than a runtime timer.
type alarmer interface {
	newAlarm(f func()) (Alarm, error)
}

// NewAlarm makes an alarm that is not set. On the real network of Linux it is a timerfd: to set a runtime timer, and to run what it calls, wakes a second
// thread each, which on a lightly loaded machine costs more than handling a message; a timerfd is one more descriptor of the poller.
func (l *Layer) NewAlarm(f func()) Alarm { return newAlarm(l.net, f) }

func newAlarm(n Net, f func()) Alarm {
	if a, ok := n.(alarmer); ok {
		if alarm, err := a.newAlarm(f); err == nil {
			return alarm
		}
	}
	return RuntimeAlarm(f)
}

// RuntimeAlarm makes an alarm of a runtime timer, which follows the clock of a testing/synctest bubble.
func RuntimeAlarm(f func()) Alarm {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return &timerAlarm{t: t}
}

type timerAlarm struct {
	t      *time.Timer
	closed atomic.Bool
}

func (a *timerAlarm) Set(d time.Duration) {
	if !a.closed.Load() {
		a.t.Reset(d)
	}
}

func (a *timerAlarm) Stop() { a.t.Stop() }

func (a *timerAlarm) Close() {
	a.closed.Store(true)
	a.t.Stop()
}
