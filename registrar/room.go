package registrar

import (
	"slices"
	"strings"

	"github.com/sipkit/sipkit/sipproxy"
)

// makeRoom leaves out contacts whose connection is gone, those not heard of for longest first, until no more than most are left; false: there are not
// enough of them. Phones with another port for each connection would else be locked out by their own past, by which nothing reaches them (RFC 5626 §7).
func (reg *registration) makeRoom(most int) bool {
	var gone []*Binding
	for i := range reg.room {
		if b := &reg.room[i]; disconnected(reg.server, b) {
			gone = append(gone, b)
		}
	}
	excess := len(reg.room) - most
	if len(gone) < excess {
		return false
	}
	slices.SortStableFunc(gone, func(a, b *Binding) int { return a.Updated.Compare(b.Updated) })
	for _, b := range gone[:excess] {
		b.Expires = reg.now
	}
	reg.room = slices.DeleteFunc(reg.room, func(b Binding) bool { return !b.Expires.After(reg.now) })
	return true
}

// disconnected: the contact was registered over a connection of this server that is closed.
func disconnected(s *sipproxy.Server, b *Binding) bool {
	if !b.Received.Proto.Reliable() || len(b.Path) > 0 {
		return false
	}
	if _, open := s.FlowTo(b.Local, b.Received); open {
		return false
	}
	at := b.Local.AddrPort.String()
	return s.IsLocalHost(at[:strings.LastIndexByte(at, ':')], b.Local.AddrPort.Port(), b.Local.Proto) // and not another node's
}
