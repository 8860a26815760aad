package dialog

import (
	"context"
	"time"
)

// due is the next instant at which something has to be done about a confirmed dialog.
func (d *dialog) due() instant {
	w := d.expires
	if d.session != 0 && d.session < w {
		w = d.session
	}
	if d.probe != 0 && d.probe < w {
		w = d.probe
	}
	return w
}

// push puts a dialog into the heap. Called with s.mu held, as all below but fire.
func (s *shard) push(d *dialog) {
	d.wake = d.due()
	d.at = len(s.heap)
	s.heap = append(s.heap, d)
	s.up(d.at)
	s.arm()
}

// schedule moves a dialog in the heap when it is due earlier. When it is due later it stays, and moves when its turn comes.
func (s *shard) schedule(d *dialog) {
	if d.at >= 0 && d.due() < d.wake {
		d.wake = d.due()
		s.up(d.at)
		s.arm()
	}
}

// remove takes a dialog out of the heap.
func (s *shard) remove(d *dialog) {
	i := d.at
	if i < 0 {
		return
	}
	last := len(s.heap) - 1
	if i != last {
		s.swap(i, last)
	}
	s.heap[last] = nil
	s.heap = s.heap[:last]
	d.at = -1
	if i < last {
		s.up(i)
		s.down(i)
	}
	if last == 0 {
		s.heap = nil
	}
}

func (s *shard) swap(i, j int) {
	h := s.heap
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (s *shard) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if s.heap[p].wake <= s.heap[i].wake {
			return
		}
		s.swap(i, p)
		i = p
	}
}

func (s *shard) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(s.heap); c++ {
			if s.heap[c].wake < s.heap[least].wake {
				least = c
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}

// arm sets the timer for the first dialog, unless it fires earlier anyway.
func (s *shard) arm() {
	if len(s.heap) == 0 {
		return
	}
	first := s.heap[0].wake
	if s.armed != 0 && s.armed <= first {
		return
	}
	s.armed = first
	wait := max(0, time.Duration(first-s.t.now()))
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.fire)
		return
	}
	s.timer.Reset(wait)
}

// fire hands dialogs that are due to the workers.
func (s *shard) fire() {
	t := s.t
	s.mu.Lock()
	s.armed = 0
	now := t.now()
	for len(s.heap) > 0 && s.heap[0].wake <= now {
		d := s.heap[0]
		switch due := d.due(); {
		case due > now:
			d.wake = due
		case d.expires <= now || d.session != 0 && d.session <= now:
			reason, hangup := "max age", t.Hangup
			switch {
			case d.doomed:
				reason, hangup = d.reason, true // nobody acknowledged
			case d.expires > now:
				reason = "session timer"
			}
			s.remove(d) // it stays confirmed until the worker is at it
			tooOld := !d.doomed
			t.work.do(func() {
				if t.expire(d, reason, hangup) && tooOld {
					t.count.expired.Add(1)
				}
			})
			continue
		default:
			d.probe = now + instant(t.Probe)
			d.wake = d.due()
			t.work.do(func() { t.probe(d) })
		}
		s.down(0)
	}
	s.arm()
	s.mu.Unlock()
}

// expire ends a dialog whose time has come, on a worker. It reports whether it did.
func (t *Tracker) expire(d *dialog, reason string, hangup bool) bool {
	m := t.media(context.Background(), d)
	if !t.stop(d, Proxy, reason, 0, t.now(), m) {
		return false
	}
	if hangup {
		ctx, cancel := context.WithTimeout(context.Background(), byeWait)
		defer cancel()
		_ = t.hangUp(ctx, d, reason)
	}
	return true
}
