package registrar

import "slices"

// apply makes the new bindings from the old, all of them or none (§10.3 step 7). It may run more than once.
func (reg *registration) apply(old []Binding) ([]Binding, error) {
	reg.next, reg.room = nil, reg.room[:0]
	for i := range old {
		switch {
		case !reg.stale(&old[i]), !reg.star && find(reg.contacts, &old[i]) < 0:
		case reg.copies && reg.cseq == old[i].CSeq:
			reg.room = append(reg.room, old...) // done already; the answer got lost
			reg.next = reg.room
			return reg.next, nil
		default:
			return nil, errOrder
		}
	}
	if reg.star {
		return nil, nil
	}
	if reg.replaces(old) {
		reg.next = reg.contacts
		return reg.next, nil
	}
	reg.room = append(reg.room, old...)
	for i := range reg.contacts {
		reg.put(&reg.contacts[i])
	}
	if most := max(reg.limit, len(old)); len(reg.room) > most && !reg.makeRoom(most) {
		return nil, errTooMany
	}
	reg.next = reg.room
	return reg.next, nil
}

// replaces: there is one contact, and nothing but it before. Most phones refresh what they have, and nothing needs to be put together then.
func (reg *registration) replaces(old []Binding) bool {
	return len(reg.contacts) == 1 && reg.limit > 0 && reg.contacts[0].Expires.After(reg.now) &&
		(len(old) == 0 || len(old) == 1 && sameContact(&old[0], &reg.contacts[0]))
}

// put replaces, adds or removes one contact. It may stand for several old ones: a flow registered by its instance and reg-id (RFC 5626) may
// have got a URI that was bound without them before.
func (reg *registration) put(c *Binding) {
	at := find(reg.room, c)
	if at >= 0 {
		rest := slices.DeleteFunc(reg.room[at+1:], func(b Binding) bool { return sameContact(&b, c) })
		reg.room = reg.room[:at+1+len(rest)]
	}
	switch kept := c.Expires.After(reg.now); {
	case at >= 0 && kept:
		reg.room[at] = *c
	case at >= 0:
		reg.room = slices.Delete(reg.room, at, at+1)
	case kept:
		reg.room = append(reg.room, *c)
	}
}

// stale: the binding was made by the same Call-ID with the same or a later CSeq.
func (reg *registration) stale(b *Binding) bool { return b.CallID == reg.callID && reg.cseq <= b.CSeq }
