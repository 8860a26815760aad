package rtprelay

import "time"

// sweepEvery is how often time-outs are looked for: they need not be sharp.
const sweepEvery = time.Second

// watch arms the one ticker; e.mu is held. It stops when the last session ends.
func (e *Embedded) watch() {
	every := min(sweepEvery, max(e.set.shortest()/4, 10*time.Millisecond))
	var t *time.Timer
	t = time.AfterFunc(every, func() {
		dead := e.sweep()
		e.mu.Lock()
		if e.ticker == t {
			t.Reset(every)
		}
		e.mu.Unlock()
		for _, d := range dead {
			e.tell(d)
		}
	})
	e.ticker = t
}

// shortest is the time-out that decides how often to look.
func (s *relaySetup) shortest() time.Duration {
	if s.oneSided > 0 {
		return min(s.timeout, s.oneSided)
	}
	return s.timeout
}

// timedOut is what is to be told after a session or a call is gone.
type timedOut struct {
	ref     Ref
	control bool
	notify  *notifyTarget
}

func (e *Embedded) tell(d timedOut) {
	if d.notify != nil {
		d.notify.send()
	}
	if e.OnTimeout != nil && !d.control {
		go e.OnTimeout(d.ref)
	}
}

// sweep ends what is silent. The streams of one call live and die together, those of Control each for itself.
func (e *Embedded) sweep() []timedOut {
	e.mu.Lock()
	defer e.mu.Unlock()
	var dead []timedOut
	for _, c := range e.calls {
		for _, group := range silent(c, e.set) {
			first := group[0]
			control := c.key.leg == controlLeg
			dead = append(dead, timedOut{first.ref(), control, first.notify})
			for _, s := range group {
				e.timedOut.Add(1)
				e.remove(s)
			}
		}
	}
	return dead
}

// silent groups the sessions of a call that ran out.
func silent(c *relayCall, set *relaySetup) [][]*relaySession {
	var groups [][]*relaySession
	if c.key.leg == controlLeg {
		for _, s := range c.sessions {
			if s.expired(set) {
				groups = append(groups, []*relaySession{s})
			}
		}
		return groups
	}
	lives := map[string]*liveness{}
	byTag := map[string][]*relaySession{}
	for _, s := range c.sessions {
		v := lives[s.fromTag]
		if v == nil {
			v = &liveness{}
			lives[s.fromTag] = v
		}
		s.judge(set, v)
		byTag[s.fromTag] = append(byTag[s.fromTag], s)
	}
	for tag, group := range byTag {
		if lives[tag].over() {
			groups = append(groups, group)
		}
	}
	return groups
}

func (s *relaySession) expired(set *relaySetup) bool {
	var v liveness
	s.judge(set, &v)
	return v.over()
}

// liveness sums up the streams of a call.
type liveness struct {
	alive           bool    // some stream has not run out
	expected, heard [2]bool // some stream is to bring packets of that party; some such stream did lately
}

func (v *liveness) over() bool {
	return !v.alive || v.expected[0] && !v.heard[0] || v.expected[1] && !v.heard[1]
}

// judge adds one stream.
func (s *relaySession) judge(set *relaySetup, v *liveness) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	state, now := s.state(), s.loop.now()
	v.alive = v.alive || !lapsed(state, s.last, now, set, s.ttl)
	if set.oneSided == 0 || state == stateHalfOpen || state == statePlaying {
		return
	}
	for i := range s.sides {
		from, to := &s.sides[i], &s.sides[1-i]
		if from.party.mute || to.party.deaf {
			continue
		}
		v.expected[i] = true
		v.heard[i] = v.heard[i] || time.Duration(now-max(from.heard, s.signalled)) < set.oneSided
	}
}

// lifeState is what decides how long a session may be silent.
type lifeState uint8

const (
	stateHalfOpen lifeState = iota
	stateActive
	stateHeld
	statePlaying // our own packets keep it
)

func (s *relaySession) state() lifeState {
	switch {
	case s.sides[0].play != nil || s.sides[1].play != nil:
		return statePlaying
	case !s.ready():
		return stateHalfOpen
	case s.sides[0].party.quiet || s.sides[1].party.quiet:
		return stateHeld
	}
	return stateActive
}

// allowance is how long a session may be silent; ttl overrides what holds for an active one.
func allowance(state lifeState, set *relaySetup, ttl time.Duration) time.Duration {
	switch {
	case state == stateHeld, state == statePlaying:
		return max(set.hold, ttl)
	case ttl > 0:
		return ttl
	case state == stateHalfOpen:
		return set.halfOpen
	}
	return set.timeout
}

func lapsed(state lifeState, last, now int64, set *relaySetup, ttl time.Duration) bool {
	return time.Duration(now-last) >= allowance(state, set, ttl)
}
