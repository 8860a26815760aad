package registrar

import "slices"

// apply makes the new bindings from the old, all of them or none (§10.3 step 7). It may run more than once.
func (reg *registration) apply(old []Binding) ([]Binding, error) {
	reg.next = reg.next[:0]
	for i := range old {
		switch {
		case !reg.stale(&old[i]), !reg.star && find(reg.contacts, &old[i]) < 0:
		case reg.copies && reg.cseq == old[i].CSeq:
			reg.next = append(reg.next, old...) // done already; the answer got lost
			return reg.next, nil
		default:
			return nil, errOrder
		}
	}
	if reg.star {
		return nil, nil
	}
	reg.next = append(reg.next, old...)
	for i := range reg.contacts {
		reg.put(&reg.contacts[i])
	}
	if len(reg.next) > reg.limit && len(reg.next) > len(old) {
		return nil, errTooMany
	}
	return reg.next, nil
}

// put replaces, adds or removes one contact. It may stand for several old ones: a flow registered by its instance and reg-id (RFC 5626) may
// have got a URI that was bound without them before.
func (reg *registration) put(c *Binding) {
	at := find(reg.next, c)
	if at >= 0 {
		rest := slices.DeleteFunc(reg.next[at+1:], func(b Binding) bool { return sameContact(&b, c) })
		reg.next = reg.next[:at+1+len(rest)]
	}
	switch kept := c.Expires.After(reg.now); {
	case at >= 0 && kept:
		reg.next[at] = *c
	case at >= 0:
		reg.next = slices.Delete(reg.next, at, at+1)
	case kept:
		reg.next = append(reg.next, *c)
	}
}

// stale: the binding was made by the same Call-ID with the same or a later CSeq.
func (reg *registration) stale(b *Binding) bool { return b.CallID == reg.callID && reg.cseq <= b.CSeq }
