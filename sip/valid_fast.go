package sip

// plainField accepts fields as everyday calls have them; vias is the number of Via values among them.
func (h *Header) plainField(f *field, seen uint32, m Method, request bool) (vias int, ok bool) {
	switch f.id {
	case idVia:
		return 1, h.via(f) != nil
	case idContact:
		return 0, !request || plainAddr(h.value(f))
	}
	if seen&(1<<f.id) != 0 {
		return 0, false
	}
	switch f.id {
	case idFrom:
		return 0, h.from.at == f.at
	case idTo:
		return 0, h.to.at == f.at
	case idCallID:
		return 0, allOf(h.value(f), isPlain)
	case idCSeq:
		_, method := plainCSeq(h.value(f))
		return 0, method != "" && (!request || method == m)
	case idMaxForwards:
		_, ok = number(h.value(f), 255)
		return 0, ok || !request
	}
	return 0, false
}

// plainCSeq reads a number, one blank and a registered method; anything else gives no method.
func plainCSeq(s string) (uint32, Method) {
	n, i := digits(s, 1<<31-1)
	if i == 0 || i+1 >= len(s) || s[i] != ' ' {
		return 0, ""
	}
	return uint32(n), everydayMethod(s[i+1:])
}

// plainTag accepts in one look at every byte what From, To and Contact hold in everyday calls:
// ["display" | display] <sip:[user@]host[:port][;params]> [;params]. What it does not accept needs the full parser.
// The mark is zero when it is not accepted; at becomes its at.
func plainTag(s string, at uint32) (m tagMark) {
	i := plainDisplay(s)
	if i < 0 || i+5 >= len(s) || s[i:i+5] != "<sip:" {
		return m
	}
	i = plainURI(s, i+5)
	if i < 0 || i >= len(s) || s[i] != '>' {
		return m
	}
	from, to, ok := plainParams(s, i+1, "tag")
	if !ok {
		return m
	}
	return tagMark{at, uint16(from), uint16(to)}
}

func plainAddr(s string) bool { return plainTag(s, 1).at != 0 }

// plainDisplay gives the index of the '<', or -1.
func plainDisplay(s string) int {
	i := 0
	if s != "" && s[0] == '"' {
		for i++; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' {
				return -1
			}
		}
		i++
	}
	for i < len(s) && s[i] != '<' {
		if !is(s[i], isToken|isBreak) {
			return -1
		}
		i++
	}
	return i
}

// plainURI gives the index behind the URI whose scheme ends before i, or -1 when it holds anything odd.
func plainURI(s string, i int) int {
	from := i
	for i < len(s) && is(s[i], isUserChar) {
		i++
	}
	switch {
	case i == len(s):
		return -1
	case s[i] == '@' && i > from:
		i++
	case s[i] == '@':
		return -1
	default:
		i = from
	}
	from = i
	for i < len(s) && is(s[i], isHost) {
		i++
	}
	if i == from {
		return -1
	}
	if i < len(s) && s[i] == ':' {
		port, n := digits(s[i+1:], 65535)
		if i += 1 + n; n == 0 || port == 0 {
			return -1
		}
	}
	if i < len(s) && s[i] == ';' {
		for i < len(s) && is(s[i], isURIParam) {
			i++
		}
	}
	return i
}
