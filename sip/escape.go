package sip

import "strings"

// Unescape decodes %HH sequences. A '%' without two hexadecimal digits behind it stays as it is.
func Unescape(s string) string {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for j := 0; j < len(s); j++ {
		c, n := unescapeAt(s, j)
		b = append(b, c)
		j += n - 1
	}
	return string(b)
}

// unescapeAt gives the byte at i and how many bytes of text it takes, 1 or 3.
func unescapeAt(s string, i int) (c byte, n int) {
	if s[i] == '%' && i+2 < len(s) {
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		if ok1 && ok2 {
			return hi<<4 | lo, 3
		}
	}
	return s[i], 1
}

func unhex(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case lower(c)-'a' < 6:
		return lower(c) - 'a' + 10, true
	}
	return 0, false
}

// EscapeUser encodes what the user part of a URI may not hold literally (§25.1), '%' included.
func EscapeUser(s string) string {
	if s == "" || allOf(s, isUserChar) {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		if c := s[i]; is(c, isUserChar) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}
