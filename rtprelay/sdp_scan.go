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
	if a, ok := dotted(s); ok {
		return a, true
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// dotted is the short way for IPv4, some three times as fast as netip's. What it does not like may be an address all the same.
func dotted(s string) (netip.Addr, bool) {
	var ip [4]byte
	n, part, digits := 0, 0, 0
	for i := range len(s) {
		c := s[i] - '0'
		switch {
		case c <= 9:
			if n = n*10 + int(c); n > 255 || digits > 0 && n < 10 { // a leading zero
				return netip.Addr{}, false
			}
			digits++
		case s[i] == '.' && digits > 0 && part < 3:
			ip[part] = byte(n)
			n, digits = 0, 0
			part++
		default:
			return netip.Addr{}, false
		}
	}
	if part != 3 || digits == 0 {
		return netip.Addr{}, false
	}
	ip[3] = byte(n)
	return netip.AddrFrom4(ip), true
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
