package sip

import "strings"

// A viaMark says where the parts of the first Via in a line lie when the line is written as nearly everybody writes it. A message's topmost Via
// is asked for half a dozen times on its way through a proxy. Marks are made where a message is made or edited, never by a reader.
// Bytes at a place never change, so a mark holds for whatever field lies at its at; an edit makes a line at another place.
type viaMark struct {
	at                uint32 // field.at, 0 for none: no field starts a message
	transport         uint8  // its end in the value, behind "SIP/2.0/"
	list              bool   // more Vias follow in the line: this one ends at the first comma
	host              uint16 // its end
	port              uint16 // its number
	params            uint16 // where they start; they end with the Via
	branch, branchEnd uint16 // its value; both 0 when it has none
}

// A tagMark is that for the tag of From or To.
type tagMark struct {
	at       uint32
	tag, end uint16 // its value; both 0 when it has none
}

// marks are those of the two topmost Vias (a response loses the first one here), From and To. A second Via in the line of the first has no at, and list
// set; its places count from where it starts.
type marks struct {
	vias     [2]viaMark
	from, to tagMark
}

// note marks a Via, From or To that was just indexed, and notes in the flags what Valid must look at.
//
//go:noinline
func (h *Header) note(id fieldID, at uint32, v string) {
	switch id {
	case idVia:
		if h.noteNextVia(v, at) {
			return
		}
	case idFrom:
		if h.from.at == 0 {
			h.from = plainTag(v, at)
		}
		if h.from.at == at {
			return
		}
	case idTo:
		if h.to.at == 0 {
			h.to = plainTag(v, at)
		}
		if h.to.at == at {
			return
		}
	}
	h.flags |= oddField
}

// noteNextVia marks a Via that was just indexed and reports whether it can be marked.
func (h *Header) noteNextVia(v string, at uint32) bool {
	if h.vias[0].at == 0 {
		h.noteVia(0, v, at)
		return h.vias[0].at != 0
	}
	if h.vias[1].at == 0 {
		h.noteVia(1, v, at)
		return h.vias[1].at != 0
	}
	var third viaMark // only Valid wants to know of it
	if end := third.read(v, at); end < len(v) {
		third.readRest(v, end)
	}
	return third.at != 0
}

// keepText drops the marks that do not hold for a message with the same text and another arena.
func (m *marks) keepText() {
	for i := range m.vias {
		if m.vias[i].at&arenaBit != 0 {
			m.vias[i] = viaMark{}
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

// noteVia marks the first Via of the value s of the field at at, in vias[i]. The mark has no at when parseVia must tell.
func (h *Header) noteVia(i int, s string, at uint32) {
	m := &h.vias[i]
	end := m.read(s, at)
	if end == len(s) {
		return
	}
	next := m.readRest(s, end)
	if i == 0 && h.vias[1].at == 0 {
		h.vias[1] = next
	}
}

// readRest looks at the other Vias of a line, as some answer with: behind the comma at i, with one blank behind each comma at most. When there is one, next is
// its mark.
//
//go:noinline
func (m *viaMark) readRest(s string, i int) (next viaMark) {
	if strings.IndexByte(s, '<') >= 0 { // in angle brackets, a comma separates nothing
		m.at = 0
		return next
	}
	n := 0
	for ; i < len(s); n++ {
		i = listed(s, i)
		end := next.read(s[i:], 1)
		if next.at == 0 {
			m.at = 0
			return next
		}
		i += end
	}
	m.list = true
	next.at, next.list = 0, n == 1
	return next
}

// listed is where the next value starts behind the comma at i.
func listed(s string, i int) int {
	i++
	if i < len(s) && s[i] == ' ' {
		i++
	}
	return i
}

// read marks the Via at the start of s: SIP/2.0/UDP host[:port]*(;name[=value]), and no white space but that one. end is that of s or where a comma follows; without
// a mark it is that of s.
func (m *viaMark) read(s string, at uint32) (end int) {
	m.at, m.list = 0, false
	i := plainProtocol(s)
	if i == 0 {
		return len(s)
	}
	m.transport = uint8(i)
	host := i + 1
	if i = run(s, host, isHost); i == host {
		i += hostLen(s[host:]) // of an IPv6 reference, or 0
	}
	if i == host {
		return len(s)
	}
	m.host, m.port = uint16(i), 0
	if i < len(s) && s[i] == ':' {
		if m.port, i = portAt(s, i+1); m.port == 0 {
			return len(s)
		}
	}
	m.params = uint16(i)
	value := 0
	if strings.HasPrefix(s[i:], ";branch=") {
		value = i + len(";branch=")
	}
	from, to, end := wantedParam(s, i, value, "branch")
	if end < 0 || end < len(s) && s[end] != ',' {
		return len(s)
	}
	m.branch, m.branchEnd = uint16(from), uint16(to)
	m.at = at
	return end
}

// plainProtocol is the end of "SIP/2.0/" and a transport, behind which is a blank and more; 0 when s does not start so.
func plainProtocol(s string) int {
	if !strings.HasPrefix(s, "SIP/2.0/") {
		return 0
	}
	if strings.HasPrefix(s[len("SIP/2.0/"):], "UDP ") {
		return len("SIP/2.0/UDP")
	}
	i := run(s, len("SIP/2.0/"), isToken)
	if i == len("SIP/2.0/") || i > 255 || i == len(s) || s[i] != ' ' {
		return 0
	}
	return i
}

// plainTag accepts in one look at every byte what From, To and Contact hold in everyday calls:
// ["display" | display] <sip:[user@]host[:port][;params]> [;params]. What it does not accept needs the full parser.
// The mark is zero when it is not accepted; at becomes its at.
func plainTag(s string, at uint32) (m tagMark) {
	i := 0
	if s != "" && s[0] == '"' {
		if i = run(s, 1, isQuoted); i == len(s) || s[i] != '"' {
			return m
		}
		i++
		if i < len(s) && s[i] == ' ' {
			i++
		}
	}
	if i < len(s) && s[i] != '<' {
		i = run(s, i, isToken|isBreak)
	}
	if i+5 >= len(s) || s[i:i+5] != "<sip:" {
		return m
	}
	_, _, _, _, i = plainURI(s, i+5)
	if i < 0 || i >= len(s) || s[i] != '>' {
		return m
	}
	i++
	value := 0
	if strings.HasPrefix(s[i:], ";tag=") {
		value = i + len(";tag=")
	}
	from, to, end := wantedParam(s, i, value, "tag")
	if end != len(s) {
		return m
	}
	return tagMark{at, uint16(from), uint16(to)}
}

func plainAddr(s string) bool { return plainTag(s, 1).at != 0 }

// wantedParam is paramsAt for a caller who has seen that the first parameter is the wanted one, as it nearly always is: its value starts at value. 0 when it
// is another one.
func wantedParam(s string, i, value int, name string) (from, to, end int) {
	if value == 0 {
		return paramsAt(s, i, name)
	}
	to = run(s, value, isPlain)
	if to == value {
		return 0, 0, -1
	}
	end = to
	if to < len(s) && s[to] == ';' {
		_, _, end = paramsAt(s, to, name)
	}
	return value, to, end
}

// plainParams reads the parameters of s from i on and gives the place of the value of the first one of that name, 0 when there is none.
// ok is false when they hold white space, quotes or anything else that takes a closer look.
func plainParams(s string, i int, name string) (from, to int, ok bool) {
	from, to, end := paramsAt(s, i, name)
	return from, to, end == len(s)
}

// paramsAt is plainParams for parameters behind which something else may be: end is where they end, -1 when one has no name or no value behind its '='.
func paramsAt(s string, i int, name string) (from, to, end int) {
	for i < len(s) && s[i] == ';' {
		at := i + 1
		if i = run(s, at, isToken); i == at {
			return 0, 0, -1
		}
		wanted := i-at == len(name) && from == 0 && (s[at:i] == name || equalFold(s[at:i], name))
		at = i
		if i < len(s) && s[i] == '=' {
			at++
			if i = run(s, at, isPlain); i == at {
				return 0, 0, -1
			}
		}
		if wanted {
			from, to = at, i
		}
	}
	return from, to, i
}
