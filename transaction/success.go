package transaction

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sipkit/sipkit/sip"
)

// A reliable2xx is a 2xx to an INVITE that is sent until its ACK comes (RFC
// 3261 §13.3.1.4), over any transport: at intervals of T1 doubling to T2, for 64*T1. The
// branch of that ACK is its own, so it is found by the dialog.
type reliable2xx struct {
	entry  entry
	tx     *Server
	user   ServerUser
	m      machine // only sent, resend, expire
	res    *sip.Response
	callID string
	from   string
	to     string
	seq    uint32
	hash   uint64
	next   *reliable2xx
	done   bool // acknowledged or given up
}

// waiting holds the 2xx that wait for their ACK, apart from the transactions: they are few at a server that is not a UAS.
type waiting struct {
	n             atomic.Int64 // spares other servers the lock
	retransmitted atomic.Uint64
	timedOut      atomic.Uint64
	mu            sync.Mutex
	first         map[uint64]*reliable2xx
}

// RespondReliably is Respond for a 2xx to an INVITE that was made here and not
// by another server downstream: the layer sends it again, at intervals of T1 doubling to T2, until
// its ACK arrives at MatchRequest (§13.3.1.4). When that has not happened after 64*T1 the user's Unsent gets
// ErrTimeout; §13.3.1.4 wants a BYE then. Other responses are sent as Respond does.
func (t *Server) RespondReliably(res *sip.Response) error {
	if t.method != sip.INVITE || !res.IsSuccess() {
		return t.Respond(res)
	}
	l := t.layer
	seq, _, _ := res.CSeq()
	r := &reliable2xx{
		tx: t, res: res, seq: seq,
		callID: strings.Clone(res.CallID()),
		from:   strings.Clone(res.FromTag()),
		to:     strings.Clone(res.ToTag()),
	}
	s := l.shard(t.hash)
	s.Lock()
	r.user = t.user // Respond releases it
	s.Unlock()
	r.hash = l.dialogHash(r.callID, r.from, seq)
	now := l.Now()
	r.m.sent, r.m.resend = now, now.add(l.timers.T1)
	r.m.expire = now.add(64 * l.timers.T1)
	l.waiting.insert(l, r, now) // before it is sent: the ACK may be quick
	err := t.Respond(res)
	if err == ErrTerminated {
		l.waiting.remove(l, r)
	}
	return err
}

func (l *Layer) dialogHash(callID, fromTag string, seq uint32) uint64 {
	h := maphash.String(l.seed, callID)
	return mix(h^mix(maphash.String(l.seed, fromTag), 1), uint64(seq))
}

func (w *waiting) insert(l *Layer, r *reliable2xx, now Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first = make(map[uint64]*reliable2xx)
	}
	r.next = w.first[r.hash]
	w.first[r.hash] = r
	w.n.Add(1)
	l.wheel.set(&r.entry, r, r.m.deadline(), now)
}

// remove reports whether r was still waiting.
func (w *waiting) remove(l *Layer, r *reliable2xx) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take(l, r)
}

func (w *waiting) take(l *Layer, r *reliable2xx) bool {
	var before *reliable2xx
	at := w.first[r.hash]
	for at != nil && at != r {
		before, at = at, at.next
	}
	switch {
	case at == nil:
		return false
	case before != nil:
		before.next = r.next
	case r.next != nil:
		w.first[r.hash] = r.next
	default:
		delete(w.first, r.hash)
	}
	r.done = true
	w.n.Add(-1)
	l.wheel.stop(&r.entry)
	return true
}

func (w *waiting) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = nil
	w.n.Store(0)
}

// acknowledge ends the wait of the 2xx that the ACK is for, and returns its transaction.
func (w *waiting) acknowledge(l *Layer, ack *sip.Request) *Server {
	if w.n.Load() == 0 {
		return nil
	}
	seq, _, err := ack.CSeq()
	if err != nil {
		return nil
	}
	hash := l.dialogHash(ack.CallID(), ack.FromTag(), seq)
	w.mu.Lock()
	defer w.mu.Unlock()
	for r := w.first[hash]; r != nil; r = r.next {
		if r.seq == seq && r.callID == ack.CallID() && r.from == ack.FromTag() && r.to == ack.ToTag() {
			w.take(l, r)
			return r.tx
		}
	}
	return nil
}

// expired is the wheel's call: send once more, or give up.
func (r *reliable2xx) expired(now Instant) {
	l := r.tx.layer
	w := &l.waiting
	w.mu.Lock()
	if r.done || now < r.m.deadline() {
		w.mu.Unlock()
		return
	}
	if r.m.expired(now) {
		w.take(l, r)
		w.mu.Unlock()
		w.timedOut.Add(1)
		if r.user != nil {
			r.user.Unsent(r.tx, ErrTimeout)
		}
		return
	}
	r.m.backOff(now, l.timers.T2)
	l.wheel.set(&r.entry, r, r.m.deadline(), now)
	w.mu.Unlock()
	w.retransmitted.Add(1)
	_ = l.net.send(r.tx.reply, r.res, nil) // what fails now may arrive the next time
}
