package dialog

import (
	"iter"
	"strings"
	"time"
)

// A Dialog is a snapshot of a dialog.
type Dialog struct {
	ID
	State          State
	From, To       string // URIs of caller and callee
	Dialed         string // Request-URI
	CallerContact  string // remote targets, as the parties wrote them
	CalleeContact  string
	Source, Target string // where their messages come from; "" where not known
	CallerSeq      uint32 // highest CSeq seen of their requests
	CalleeSeq      uint32
	Invited        time.Time
	Answered       time.Time // zero: early
	Expires        time.Time // zero: early
}

// snapshot is called with the shard's mu held.
func (t *Tracker) snapshot(d *dialog) Dialog {
	c := d.call
	x := Dialog{
		ID: ID{c.callID, c.tag, d.tag}, State: d.state, From: c.from, To: c.to, Dialed: d.dialed,
		CallerContact: d.ends[0].contact, CalleeContact: d.ends[1].contact, Source: d.ends[0].where(), Target: d.ends[1].where(),
		CallerSeq: d.ends[0].seq, CalleeSeq: d.ends[1].seq, Invited: t.at(d.born), Answered: t.at(d.answered),
	}
	if d.state == Confirmed {
		x.Expires = t.at(d.expires)
		if d.session != 0 && d.session < d.expires {
			x.Expires = t.at(d.session)
		}
	}
	return x
}

// All yields the early and confirmed dialogs, those of one piece of the table at a time as they are then: it is no snapshot of one moment, and the
// loop may take its time and call other methods.
func (t *Tracker) All() iter.Seq[Dialog] {
	t.setup()
	return func(yield func(Dialog) bool) {
		for i := range t.shards {
			for _, d := range t.shards[i].all() {
				d.From, d.To = uriOf(d.From), uriOf(d.To)
				if !yield(d) {
					return
				}
			}
		}
	}
}

func (s *shard) all() (list []Dialog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		for ; c != nil; c = c.next {
			list = s.t.appendLive(list, c)
		}
	}
	return list
}

func (t *Tracker) appendLive(list []Dialog, c *call) []Dialog {
	for _, d := range c.dialogs {
		if d.state != Ended {
			list = append(list, t.snapshot(d))
		}
	}
	return list
}

// ByCallID gives the dialogs of a Call-ID: several after a fork.
func (t *Tracker) ByCallID(callID string) (list []Dialog) {
	t.setup()
	s := t.shard(callID)
	s.mu.Lock()
	for c := s.calls[callID]; c != nil; c = c.next {
		list = t.appendLive(list, c)
	}
	s.mu.Unlock()
	for i := range list {
		list[i].From, list[i].To = uriOf(list[i].From), uriOf(list[i].To)
	}
	return list
}

// Find gives a dialog by its ID; the tags may stand in either order.
func (t *Tracker) Find(id ID) (Dialog, bool) {
	for _, d := range t.ByCallID(id.CallID) {
		if d.ID == id || d.CallerTag == id.CalleeTag && d.CalleeTag == id.CallerTag {
			return d, true
		}
	}
	return Dialog{}, false
}

// ByUser yields the dialogs in which a user calls or is called: "alice", or "alice@example.com". It looks through all of them.
func (t *Tracker) ByUser(user string) iter.Seq[Dialog] {
	return func(yield func(Dialog) bool) {
		for d := range t.All() {
			if (isUser(d.From, user) || isUser(d.To, user)) && !yield(d) {
				return
			}
		}
	}
}

// isUser compares the user, and when given the host, of a URI.
func isUser(uri, user string) bool {
	_, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return false
	}
	rest, _, _ = strings.Cut(rest, ";")
	rest, _, _ = strings.Cut(rest, "?")
	name, host, ok := strings.Cut(rest, "@")
	wantName, wantHost, hasHost := strings.Cut(user, "@")
	switch {
	case !ok:
		return !hasHost && rest == user && strings.HasPrefix(uri, "tel:")
	case hasHost && !strings.EqualFold(host, wantHost) && !strings.EqualFold(withoutPort(host), wantHost):
		return false
	}
	name, _, _ = strings.Cut(name, ":") // a password
	return name == wantName
}

func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}
