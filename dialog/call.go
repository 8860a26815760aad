package dialog

import (
	"net/netip"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/sipproxy"
	"github.com/sipkit/sipkit/transport"
)

// A call is what the dialogs of a Call-ID and caller's tag have in common. Its shard's mu guards what changes.
type call struct {
	callID, tag string
	from, to    string // raw values; from with the tag, to as the INVITE had it
	srv         *sipproxy.Server
	caller      end
	open        int // INVITEs in progress
	attempts    *attempt
	listed      bool
	dialogs     []*dialog
	first       [1]*dialog
	next        *call // same Call-ID

	telling bool // somebody is in OnEvent
	queue   []Event
}

// A dialog is one callee of a call.
type dialog struct {
	call   *call
	tag    string // of the callee
	dialed string
	ends   [2]end // caller, callee
	state  State
	by     Side // who ended it
	reason string
	silent [2]uint8
	acked  bool // an ACK has passed
	doomed bool // End came before: over as soon as it does

	born, ringing, answered, ended instant

	expires instant // age
	session instant // session timer; 0: none
	probe   instant // next
	wake    instant // key in the heap, at or before the first of these
	at      int     // index in the heap; -1: not there
}

// An end is one party as seen from here.
type end struct {
	contact string // raw value
	routes  string // route set from here to the party, comma-separated
	seq     uint32 // highest CSeq of its requests
	proto   transport.Proto
	local   netip.AddrPort // our socket
	remote  netip.AddrPort // the neighbour its messages come from
}

func (e *end) where() string {
	if e.proto == 0 {
		return ""
	}
	return transport.Addr{Proto: e.proto, AddrPort: e.remote}.String()
}

func (e *end) meet(local, remote transport.Addr) {
	e.proto, e.local, e.remote = remote.Proto, local.AddrPort, remote.AddrPort
}

// A State of a dialog (§12).
type State uint8

// The states. Ended dialogs are no longer listed.
const (
	Early State = iota
	Confirmed
	Ended
)

func (s State) String() string {
	switch s {
	case Early:
		return "early"
	case Confirmed:
		return "confirmed"
	}
	return "ended"
}

// pack copies strings out of a message into one piece of memory, so that nothing of the message is kept.
func pack(list ...*string) {
	n := 0
	for _, s := range list {
		n += len(*s)
	}
	var b strings.Builder
	b.Grow(n)
	for _, s := range list {
		b.WriteString(*s)
	}
	all := b.String()
	for _, s := range list {
		n = len(*s)
		*s, all = all[:n], all[n:]
	}
}

// newCall takes what is kept of a call from its INVITE.
func newCall(r *sipproxy.Request) *call {
	c := &call{callID: r.CallID(), tag: r.FromTag(), from: r.Get("From"), to: r.Get("To"), srv: r.Server()}
	c.dialogs = c.first[:0]
	c.caller.contact = contactOf(&r.Header)
	c.caller.routes = below(&r.Header)
	c.caller.meet(r.Local, r.Source)
	c.caller.seq, _, _ = r.CSeq()
	pack(&c.callID, &c.tag, &c.from, &c.to, &c.caller.contact, &c.caller.routes)
	return c
}

// contactOf is the raw value of the first Contact.
func contactOf(h *sip.Header) string {
	for v := range h.Values("Contact") {
		return v
	}
	return ""
}

// below joins the Record-Routes of an INVITE as it came: the way back to the caller, in order (§12.1.1).
func below(h *sip.Header) string {
	routes := ""
	for n, err := range h.RecordRoutes() {
		if err != nil {
			return ""
		}
		if routes != "" {
			routes += ","
		}
		routes += n.String()
	}
	return routes
}

// above joins the Record-Routes of a response that stand before the first of ours, turned round: the way to the callee (§12.1.2). known is their
// number in the INVITE as it came; without one of ours, those are the ones behind.
func above(s *sipproxy.Server, h *sip.Header, known int) string {
	var list []string
	ours := false
	for n, err := range h.RecordRoutes() {
		if err != nil {
			return ""
		}
		if s.IsLocal(n.URI) {
			ours = true
			break
		}
		list = append(list, n.String())
	}
	if !ours {
		list = list[:max(0, len(list)-known)]
	}
	routes := ""
	for i := len(list) - 1; i >= 0; i-- {
		if routes != "" {
			routes += ","
		}
		routes += list[i]
	}
	return routes
}

func count(h *sip.Header, name string) (n int) {
	for range h.Values(name) {
		n++
	}
	return n
}

// dialog finds a dialog by the callee's tag.
func (c *call) dialog(tag string) *dialog {
	for _, d := range c.dialogs {
		if d.tag == tag {
			return d
		}
	}
	return nil
}

func (c *call) drop(d *dialog) {
	for i, x := range c.dialogs {
		if x == d {
			last := len(c.dialogs) - 1
			c.dialogs[i] = c.dialogs[last]
			c.dialogs[last] = nil
			c.dialogs = c.dialogs[:last]
			return
		}
	}
}
