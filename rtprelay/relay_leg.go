package rtprelay

import (
	"cmp"
	"strings"
	"time"
)

// A relayLeg is a session at the engine as the proxy knows it: one branch of a call. Relay.mu guards it.
type relayLeg struct {
	callID, from, to string // from is the caller's tag, to the callee's: the last one seen until a 2xx
	node             string
	id, group        int
	branch           int      // Branch.ID: mostly id
	request          uint32   // hash of the branch parameter of the INVITE
	pending          callSide // whose offer waits for its answer
	confirmed        bool     // by a 2xx
	gone             bool     // not in the table any more
	holding          [2]bool
	agreed           [2]*position // of the caller, of the callee
	offered          *position    // not answered yet
	used             time.Time

	next         *relayLeg // same Call-ID
	older, newer *relayLeg
}

// A callSide is one of the two parties of a call.
type callSide uint8

const (
	nobody callSide = iota
	caller
	callee
)

func (p callSide) other() callSide { return caller + callee - p }

func (l *relayLeg) ref() Ref {
	return Ref{CallID: l.callID, Leg: l.id, FromTag: l.from, ToTag: l.to, Group: l.group, Node: l.node}
}

// find gives the leg of a dialog, and which party has tag a. Called with rl.mu held, as all below that do not say otherwise.
func (rl *Relay) find(callID, a, b string) (*relayLeg, callSide) {
	var early *relayLeg
	var who callSide
	several := false
	for l := rl.calls[callID]; l != nil; l = l.next {
		switch {
		case l.from == a && l.to == b:
			return l, caller
		case l.from == b && l.to == a:
			return l, callee
		case l.confirmed:
		case l.from == a:
			several = several || early != nil
			early, who = l, caller
		case l.from == b:
			several = several || early != nil
			early, who = l, callee
		}
	}
	// One branch may have several early dialogs: a proxy behind us forks as well.
	if several {
		return nil, nobody
	}
	return early, who
}

// legStride is added to the id of a branch when another request of the call has a branch of that id: a proxy before us forked. It is the usual
// limit of branches.
const legStride = 64

// taken reports whether another leg has the name of l, and so its session.
func (rl *Relay) taken(l *relayLeg) bool {
	for x := rl.calls[l.callID]; x != nil; x = x.next {
		if x.id == l.id && x.from == l.from {
			return true
		}
	}
	return false
}

// enlist takes a leg into the table, under an id that is free; it reports whether there is room.
func (rl *Relay) enlist(l *relayLeg) (expired []Ref, ok bool) {
	now := time.Now()
	for old := rl.list.newer; old != &rl.list && now.Sub(old.used) > cmp.Or(rl.MaxAge, defaultRelayAge); old = rl.list.newer {
		rl.count.expired.Add(1)
		expired = append(expired, old.ref())
		rl.unlist(old)
	}
	if rl.held >= cmp.Or(rl.Max, defaultRelayMax) {
		rl.count.limited.Add(1)
		return expired, false
	}
	for rl.taken(l) {
		l.id += legStride
	}
	l.callID, l.from, l.to, l.node = strings.Clone(l.callID), strings.Clone(l.from), strings.Clone(l.to), strings.Clone(l.node)
	l.next = rl.calls[l.callID]
	rl.calls[l.callID] = l
	rl.held++
	l.gone = false
	rl.link(l, now)
	return expired, true
}

// link puts a leg at the young end of the list.
func (rl *Relay) link(l *relayLeg, now time.Time) {
	l.used = now
	l.older, l.newer = rl.list.older, &rl.list
	l.older.newer, rl.list.older = l, l
}

func (l *relayLeg) cut() {
	l.older.newer, l.newer.older = l.newer, l.older
	l.older, l.newer = nil, nil
}

// touch keeps a leg from ageing.
func (rl *Relay) touch(l *relayLeg) {
	if !l.gone {
		l.cut()
		rl.link(l, time.Now())
	}
}

func (rl *Relay) unlist(l *relayLeg) {
	if l.gone {
		return
	}
	l.gone = true
	l.cut()
	rl.held--
	first := rl.calls[l.callID]
	switch {
	case first != l:
		for p := first; p != nil; p = p.next {
			if p.next == l {
				p.next = l.next
			}
		}
	case l.next == nil:
		delete(rl.calls, l.callID)
	default:
		rl.calls[l.callID] = l.next
	}
	l.next = nil
}
