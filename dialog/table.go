package dialog

import (
	"hash/maphash"
	"sync"
	"time"
)

const shardCount = 32

// A shard holds the calls of some Call-IDs.
type shard struct {
	t     *Tracker
	mu    sync.Mutex
	calls map[string]*call // by Call-ID; more in call.next
	heap  []*dialog        // confirmed ones, by wake
	timer *time.Timer
	armed instant // when timer fires; 0: it does not
}

func (t *Tracker) shard(callID string) *shard {
	return &t.shards[maphash.String(t.seed, callID)%shardCount]
}

// find gives the call of a caller's tag. Called with s.mu held, as all below.
func (s *shard) find(callID, tag string) *call {
	for c := s.calls[callID]; c != nil; c = c.next {
		if c.tag == tag {
			return c
		}
	}
	return nil
}

func (s *shard) list(c *call) {
	if c.listed {
		return
	}
	c.listed = true
	c.next = s.calls[c.callID]
	s.calls[c.callID] = c
}

// release forgets a call that has neither an INVITE in progress nor a dialog that lives. Dialogs that have ended stay until then, so that a further copy
// of their 2xx is known.
func (s *shard) release(c *call) {
	if c.open > 0 || !c.listed {
		return
	}
	for _, d := range c.dialogs {
		if d.state != Ended {
			return
		}
	}
	c.listed = false
	c.dialogs = nil
	first := s.calls[c.callID]
	if first == c {
		if c.next == nil {
			delete(s.calls, c.callID)
		} else {
			s.calls[c.callID] = c.next
		}
		c.next = nil
		return
	}
	for p := first; p != nil; p = p.next {
		if p.next == c {
			p.next, c.next = c.next, nil
			return
		}
	}
}

// party finds the dialog that a request belongs to and who of the two sent it.
func (s *shard) party(callID, fromTag, toTag string) (*dialog, Side) {
	for c := s.calls[callID]; c != nil; c = c.next {
		if c.tag == fromTag {
			if d := c.dialog(toTag); d != nil {
				return d, Caller
			}
		}
		if c.tag == toTag {
			if d := c.dialog(fromTag); d != nil {
				return d, Callee
			}
		}
	}
	return nil, 0
}

// queue leaves an event for tell, in the same breath as the change that it tells. Called with the shard's mu held.
func (t *Tracker) queue(c *call, e *Event) {
	if t.OnEvent != nil {
		c.queue = append(c.queue, *e)
	}
}

// tell gives OnEvent the events of a call that wait. One goroutine does it at a time. Called without locks.
func (t *Tracker) tell(c *call) {
	if t.OnEvent == nil {
		return
	}
	s := t.shard(c.callID)
	s.mu.Lock()
	if c.telling {
		s.mu.Unlock()
		return
	}
	c.telling = true
	for len(c.queue) > 0 {
		next := c.queue[0]
		c.queue[0] = Event{}
		if c.queue = c.queue[1:]; len(c.queue) == 0 {
			c.queue = nil
		}
		s.mu.Unlock()
		t.tellOne(c, s, next)
		s.mu.Lock()
	}
	c.telling = false
	s.mu.Unlock()
}

// tellOne lets the others go on when OnEvent panics.
func (t *Tracker) tellOne(c *call, s *shard, e Event) {
	ok := false
	defer func() {
		if !ok {
			s.mu.Lock()
			c.telling = false
			s.mu.Unlock()
		}
	}()
	t.OnEvent(e)
	ok = true
}
