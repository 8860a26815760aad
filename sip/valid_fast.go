package sip

// plainAddr accepts in one look at every byte what From, To and Contact hold in everyday calls:
// ["display" | display] <sip:[user@]host[:port][;params]> [;params]. What it does not accept needs the full parser.
func plainAddr(s string) bool {
	i := plainDisplay(s)
	if i < 0 || i+5 >= len(s) || s[i:i+5] != "<sip:" {
		return false
	}
	i = plainURI(s, i+5)
	if i < 0 || i >= len(s) || s[i] != '>' || i+1 < len(s) && s[i+1] != ';' {
		return false
	}
	sep := true
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case is(c, isToken):
			sep = false
		case c == ';' && (!sep || s[i-1] == '>'), c == '=' && !sep:
			sep = true
		default:
			return false
		}
	}
	return !sep || s[len(s)-1] == '>'
}

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
