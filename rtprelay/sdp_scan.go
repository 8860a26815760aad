package rtprelay

import (
	"net/netip"
	"strings"
)

// word finds the next blank-separated word of text[at:end].
func word(text string, at, end int) (from, to int) {
	for at < end && isBlank(text[at]) {
		at++
	}
	from = at
	for at < end && !isBlank(text[at]) {
		at++
	}
	return from, at
}

// trimEnd is end without trailing blanks.
func trimEnd(text string, from, end int) int {
	for end > from && isBlank(text[end-1]) {
		end--
	}
	return end
}

// lastBlank is where the last word of text[from:end] starts.
func lastBlank(text string, from, end int) int {
	for end > from && !isBlank(text[end-1]) {
		end--
	}
	return end
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isFamily(s string) bool { return s == "IP4" || s == "IP6" }

// port16 reads decimal digits up to 65535.
func port16(s string) (uint16, bool) {
	if s == "" || len(s) > 5 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n), n <= 65535
}

// literal reads an IP address; host names and zones (which mean nothing to another host) are none.
func literal(s string) (netip.Addr, bool) {
	if s == "" || strings.IndexByte(s, '%') >= 0 || (strings.IndexByte(s, ':') < 0 && !(s[len(s)-1] >= '0' && s[len(s)-1] <= '9')) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
