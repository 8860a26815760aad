package sip

// Character classes of RFC 3261 §25.1. A line break inside a field value can only be a fold, so CR and LF count as white space there.

const (
	isToken    = 1 << iota // token
	isHost                 // hostname, IPv4address, and the underscore that is seen in the field
	isUserChar             // what the user part may hold without escape
	isBreak                // SP, HT, CR, LF
	isURIParam             // what passes in URI parameters without a further look
	isPlain                // what a parameter value without quotes may hold
	isQuoted               // what a quoted string may hold without a further look
)

var classes = makeClasses()

func makeClasses() (t [256]uint8) {
	for c := range 256 {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			t[c] = isToken | isHost | isUserChar | isURIParam
		}
	}
	mark := func(set string, class uint8) {
		for i := range len(set) {
			t[set[i]] |= class
		}
	}
	for c := range t {
		if c != '"' && c != '\\' {
			t[c] |= isQuoted
		}
	}
	for c := '!'; c <= '~'; c++ {
		if c != ';' && c != ',' && c != '"' {
			t[c] |= isPlain
		}
	}
	mark("-.!%*_+`'~", isToken)
	mark("-._", isHost)
	mark("-_.!~*'()&=+$,;?/", isUserChar)
	mark(" \t\r\n", isBreak)
	mark("-_.!~*'()&=+$%;:/[]", isURIParam)
	return t
}

func is(c byte, class uint8) bool { return classes[c]&class != 0 }

// run is the index of the first byte of s from i on that is not of the class, len(s) when all are. It takes four bytes a turn.
//
//go:noinline
func run(s string, i int, class uint8) int {
	if uint(i) > uint(len(s)) {
		return len(s) // never, and with no panic here the function needs no frame
	}
	t, rest := &classes, s[i:]
	for len(rest) > 4 {
		if t[rest[0]]&class == 0 {
			return len(s) - len(rest)
		}
		if t[rest[1]]&class == 0 {
			return len(s) - len(rest) + 1
		}
		if t[rest[2]]&class == 0 {
			return len(s) - len(rest) + 2
		}
		if t[rest[3]]&class == 0 {
			return len(s) - len(rest) + 3
		}
		rest = rest[4:]
	}
	for n := range len(rest) {
		if t[rest[n]]&class == 0 {
			return len(s) - len(rest) + n
		}
	}
	return len(s)
}

func isSpace(c byte) bool { return is(c, isBreak) }

func isDigit(c byte) bool { return c-'0' <= 9 }

func lower(c byte) byte {
	if c-'A' <= 'Z'-'A' {
		return c | 0x20
	}
	return c
}

// trim removes white space and folds from both ends.
func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// skipSpace returns the index of the first byte from i on that is no white space.
func skipSpace(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

// skipQuoted returns the index behind the quoted string that opens at s[i], or -1 when it never ends.
func skipQuoted(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// equalFold compares ASCII without case. (strings.EqualFold would also equate the Kelvin sign with k.)
//
//go:noinline
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func allOf(s string, class uint8) bool { return s != "" && run(s, 0, class) == len(s) }

// number reads a string of digits alone, at most max.
func number(s string, max uint64) (uint64, bool) {
	n, end := digits(s, max)
	return n, end == len(s) && end > 0
}

// digits reads the digits at the start of s; end is 0 when there are none or the value is over max.
//
//go:noinline
func digits(s string, max uint64) (n uint64, end int) {
	for end < len(s) {
		d := uint64(s[end]) - '0'
		if d > 9 {
			break
		}
		if n = n*10 + d; n > max {
			return 0, 0
		}
		end++
	}
	return n, end
}

// appendNumber appends n in decimal, two digits a turn: most numbers written here have two or four.
func appendNumber(b []byte, n uint32) []byte {
	if n >= 100 {
		b = appendNumber(b, n/100)
		n %= 100
		return append(b, byte('0'+n/10), byte('0'+n%10))
	}
	if n >= 10 {
		b = append(b, byte('0'+n/10))
		n %= 10
	}
	return append(b, byte('0'+n))
}
