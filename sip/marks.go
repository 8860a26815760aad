package sip

// A viaMark says where the parts of a Via lie that is alone in its line and written as nearly everybody writes it. A message's topmost Via
// is asked for half a dozen times on its way through a proxy. Marks are made where a message is made or edited, never by a reader.
// Bytes at a place never change, so a mark holds for whatever field lies at its at; an edit makes a line at another place.
type viaMark struct {
	at                uint32 // field.at, 0 for none: no field starts a message
	transport, host   uint16 // their ends in the value, behind "SIP/2.0/"
	port              uint16 // its number
	params            uint16 // where they start; they end with the value
	branch, branchEnd uint16 // its value; both 0 when it has none
}

// A tagMark is that for the tag of From or To.
type tagMark struct {
	at       uint32
	tag, end uint16 // its value; both 0 when it has none
}

// marks are those of the two topmost Vias (a response loses the first one here), From and To.
type marks struct {
	vias     [2]viaMark
	from, to tagMark
}

// note marks a Via, From or To that was just indexed.
func (m *marks) note(h *Header, f *field) {
	if f.id == idVia {
		v := &m.vias[0]
		if v.at != 0 {
			v = &m.vias[1]
		}
		if v.at == 0 {
			*v = plainVia(h.value(f), f.at)
		}
		return
	}
	t := &m.from
	if f.id == idTo {
		t = &m.to
	}
	if t.at == 0 {
		*t = plainTag(h.value(f), f.at)
	}
}

// keepText drops the marks that do not hold for a message with the same text and another arena.
func (m *marks) keepText() {
	for i := range m.vias {
		if m.vias[i].at&arenaBit != 0 {
			m.vias[i].at = 0
		}
	}
	if m.from.at&arenaBit != 0 {
		m.from.at = 0
	}
	if m.to.at&arenaBit != 0 {
		m.to.at = 0
	}
}

// via is the mark of a Via field, nil when it has none.
func (m *marks) via(f *field) *viaMark {
	switch f.at {
	case m.vias[0].at:
		return &m.vias[0]
	case m.vias[1].at:
		return &m.vias[1]
	}
	return nil
}

// notePushed marks a Via that was put on top.
func (h *Header) notePushed(f *field) {
	h.vias[1] = h.vias[0]
	h.vias[0] = plainVia(h.value(f), f.at)
}

// plainVia marks the Via value s of the field at at: SIP/2.0/UDP host[:port]*(;name[=value]), and no white space but that one. The mark is zero
// when parseVia must tell.
func plainVia(s string, at uint32) (m viaMark) {
	if len(s) < 12 || s[:8] != "SIP/2.0/" {
		return m
	}
	i := 8
	for i < len(s) && is(s[i], isToken) {
		i++
	}
	if i == 8 || i == len(s) || s[i] != ' ' {
		return m
	}
	m.transport = uint16(i)
	n := hostLen(s[i+1:])
	if n == 0 {
		return m
	}
	i += 1 + n
	m.host = uint16(i)
	if i < len(s) && s[i] == ':' {
		port, n := digits(s[i+1:], 65535)
		if port == 0 {
			return m
		}
		m.port = uint16(port)
		i += 1 + n
	}
	m.params = uint16(i)
	from, to, ok := plainParams(s, i, "branch")
	if !ok {
		return m
	}
	m.branch, m.branchEnd = uint16(from), uint16(to)
	m.at = at
	return m
}

// plainParams reads the parameters of s from i on and gives the place of the value of the first one of that name, 0 when there is none.
// ok is false when they hold white space, quotes or anything else that takes a closer look.
func plainParams(s string, i int, name string) (from, to int, ok bool) {
	for i < len(s) {
		if s[i] != ';' {
			return 0, 0, false
		}
		start := i + 1
		i++
		for i < len(s) && is(s[i], isToken) {
			i++
		}
		if i == start {
			return 0, 0, false
		}
		wanted := from == 0 && i-start == len(name) && (s[start:i] == name || equalFold(s[start:i], name))
		if i < len(s) && s[i] == '=' {
			start = i + 1
			i++
			for i < len(s) && is(s[i], isPlain) {
				i++
			}
			if i == start {
				return 0, 0, false
			}
		} else {
			start = i
		}
		if wanted {
			from, to = start, i
		}
	}
	return from, to, true
}
