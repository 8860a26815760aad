package siptest

import (
	"container/heap"
	"time"
)

// A schedule runs functions at instants, equal instants in the order of their entry. One runtime timer serves it: timers of
// equal time fire in no order.
type schedule struct {
	items scheduled
	seq   uint64
	timer *time.Timer
}

type scheduledItem struct {
	at  time.Time
	seq uint64
	f   func()
}

type scheduled []scheduledItem

func (s scheduled) Len() int      { return len(s) }
func (s scheduled) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s scheduled) Less(i, j int) bool {
	if s[i].at.Equal(s[j].at) {
		return s[i].seq < s[j].seq
	}
	return s[i].at.Before(s[j].at)
}
func (s *scheduled) Push(x any) { *s = append(*s, x.(scheduledItem)) }
func (s *scheduled) Pop() any {
	old := *s
	x := old[len(old)-1]
	*s = old[:len(old)-1]
	return x
}

// at runs f at an instant with n.mu held, now when that has come and nothing waits before it. n.mu is held.
func (n *Network) at(t time.Time, f func()) {
	q := &n.queue
	if len(q.items) == 0 && !t.After(now()) {
		f()
		return
	}
	q.seq++
	heap.Push(&q.items, scheduledItem{t, q.seq, f})
	n.arm()
}

func (n *Network) arm() {
	q := &n.queue
	if len(q.items) == 0 {
		return
	}
	d := time.Until(q.items[0].at)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, n.due)
		return
	}
	q.timer.Reset(d)
}

// travelling reports whether packets are on their way.
func (n *Network) travelling() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.queue.items) > 0
}

func (n *Network) due() {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := &n.queue
	for len(q.items) > 0 && !q.items[0].at.After(now()) {
		heap.Pop(&q.items).(scheduledItem).f()
	}
	n.arm()
}
