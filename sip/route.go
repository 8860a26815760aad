package sip

// AppendRoutes appends every Route value to dst, topmost first. It ends at a malformed one, with its error. It is Routes for whoever wants all of them.
func (h *Header) AppendRoutes(dst []NameAddr) ([]NameAddr, error) {
	l := h.list()
	for i := range l {
		if l[i].id != idRoute {
			continue
		}
		for v, rest := "", h.value(&l[i]); rest != ""; {
			if v, rest = cutComma(rest); v == "" {
				continue
			}
			dst = append(dst, NameAddr{})
			if err := dst[len(dst)-1].read(v); err != nil {
				return dst[:len(dst)-1], err
			}
		}
	}
	return dst, nil
}
