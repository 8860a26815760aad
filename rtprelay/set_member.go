package rtprelay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// member is the state of one engine of a Set.
type member struct {
	set    *Set
	name   string
	hash   uint64
	engine Engine
	weight int

	down     atomic.Bool
	disabled atomic.Bool
	pending  atomic.Int64

	requests, failures, downs atomic.Uint64

	mu    sync.Mutex
	timer *time.Timer // the next probe
	pause time.Duration
}

func (m *member) state() NodeState {
	return NodeState{m.name, !m.down.Load(), !m.disabled.Load(), int(m.pending.Load()), m.requests.Load(), m.failures.Load(), m.downs.Load()}
}

var (
	errDown = unavailable(errors.New("rtprelay: node is out"))
	errFull = &BusyError{Code: "full", Reason: "too many requests wait for it"}
)

// do runs f unless the member is out or too many wait for it, and draws its conclusions from the error.
func (m *member) do(ctx context.Context, f func(Engine) error) error {
	if m.down.Load() {
		return errDown
	}
	limit := int64(m.set.Pending)
	if limit <= 0 {
		limit = 1000
	}
	if m.pending.Add(1) > limit {
		m.pending.Add(-1)
		m.failures.Add(1)
		return errFull
	}
	defer m.pending.Add(-1)
	m.requests.Add(1)
	err := f(m.engine)
	if errors.Is(err, ErrUnavailable) {
		m.failures.Add(1)
		if ctx.Err() == nil && noAnswer(err) {
			m.leaveOut()
		}
	}
	return err
}

// noAnswer: silence, as opposed to one that says no or makes no sense.
func noAnswer(err error) bool {
	var busy *BusyError
	var odd *ReplyError
	return errors.Is(err, ErrUnavailable) && !errors.As(err, &busy) && !errors.As(err, &odd)
}

// leaveOut takes the member out until a probe succeeds.
func (m *member) leaveOut() {
	if !m.down.CompareAndSwap(false, true) {
		return
	}
	m.downs.Add(1)
	m.mu.Lock()
	m.pause = time.Second
	m.mu.Unlock()
	m.schedule(time.Second)
	m.tell(false)
}

func (m *member) tell(up bool) {
	if f := m.set.OnChange; f != nil {
		go f(m.name, up)
	}
}

func (m *member) schedule(after time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.set.ctx.Err() != nil {
		return
	}
	if m.timer != nil {
		m.timer.Stop()
	}
	m.timer = time.AfterFunc(after, m.probe)
}

func (m *member) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer != nil {
		m.timer.Stop()
	}
}

// probe asks a member that is out, or in while Ping says so. An engine that cannot be probed is taken in again and learns by calls.
func (m *member) probe() {
	ctx, cancel := context.WithTimeout(m.set.ctx, 5*time.Second)
	defer cancel()
	err := error(nil)
	if p, ok := m.engine.(Prober); ok {
		err = p.Probe(ctx)
	}
	switch {
	case m.set.ctx.Err() != nil:
	case err == nil:
		if m.down.CompareAndSwap(true, false) {
			m.tell(true)
		}
		if m.set.Ping > 0 {
			m.schedule(m.set.Ping)
		}
	case m.down.Load():
		m.mu.Lock()
		m.pause = min(2*m.pause, orDefaultDuration(m.set.Probe, 30*time.Second))
		pause := m.pause
		m.mu.Unlock()
		m.schedule(pause)
	case errors.Is(err, ErrUnavailable):
		m.leaveOut()
	default: // refuses the question: alive
		m.schedule(m.set.Ping)
	}
}
