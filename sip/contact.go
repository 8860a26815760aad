package sip

// FirstContact parses the first Contact value into n; more tells whether others follow. ErrNoField: there is none.
func (h *Header) FirstContact(n *NameAddr) (more bool, err error) {
	v, more := h.firstContact()
	if v == "" {
		return false, ErrNoField
	}
	*n, err = ParseNameAddr(v)
	return more, err
}

func (h *Header) firstContact() (v string, more bool) {
	l := h.list()
	for i := range l {
		if l[i].id != idContact {
			continue
		}
		if v != "" || l[i].valLen == 0 {
			return h.contactOfMany()
		}
		v = h.value(&l[i])
		if commaAt(v) >= 0 {
			return h.contactOfMany()
		}
	}
	return v, false
}

//go:noinline
func (h *Header) contactOfMany() (first string, more bool) {
	for v := range h.Values("Contact") {
		if first != "" {
			return first, true
		}
		first = v
	}
	return first, false
}
