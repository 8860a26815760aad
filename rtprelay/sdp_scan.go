package rtprelay

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/sip"
)

// word finds the next blank-separated word of text[at:end]. In line, its loops would run on variables in memory; as lastWord's.
//
//go:noinline
func word(text string, at, end int) (from, to int) {
	text = text[:end]
	for at < len(text) && isBlank(text[at]) {
		at++
	}
	to = at
	for to < len(text) && !isBlank(text[to]) {
		to++
	}
	return at, to
}

// lastWord is word from the end of text[at:end].
//
//go:noinline
func lastWord(text string, at, end int) (from, to int) {
	to = trimEnd(text, at, end)
	from = to
	for from > at && !isBlank(text[from-1]) {
		from--
	}
	return from, to
}

// trimEnd is end without trailing blanks.
func trimEnd(text string, from, end int) int {
	for end > from && isBlank(text[end-1]) {
		end--
	}
	return end
}

// isBlank asks once for nearly all bytes.
func isBlank(c byte) bool { return c <= ' ' && (c == ' ' || c == '\t') }

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
	if a, ok := sip.IPv4(s); ok {
		return a, true
	}
	if s == "" || strings.IndexByte(s, '%') >= 0 || (strings.IndexByte(s, ':') < 0 && !(s[len(s)-1] >= '0' && s[len(s)-1] <= '9')) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// appendDotted writes an IPv4 address, in half the time of netip's way.
func appendDotted(dst []byte, a netip.Addr) []byte {
	ip := a.As4()
	dst = append(appendOctet(dst, ip[0]), '.')
	dst = append(appendOctet(dst, ip[1]), '.')
	dst = append(appendOctet(dst, ip[2]), '.')
	return appendOctet(dst, ip[3])
}

func appendOctet(dst []byte, n byte) []byte {
	switch {
	case n >= 100:
		return append(dst, '0'+n/100, '0'+n/10%10, '0'+n%10)
	case n >= 10:
		return append(dst, '0'+n/10, '0'+n%10)
	}
	return append(dst, '0'+n)
}

// appendPort is strconv.AppendUint at half its cost for ports that relays use.
func appendPort(dst []byte, port uint16) []byte {
	if port < 10000 {
		return strconv.AppendUint(dst, uint64(port), 10)
	}
	n := uint32(port)
	return append(dst, '0'+byte(n/10000), '0'+byte(n/1000%10), '0'+byte(n/100%10), '0'+byte(n/10%10), '0'+byte(n%10))
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
