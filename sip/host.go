package sip

import (
	"net/netip"
	"strings"
)

// hostLen is the length of the host (name, IPv4 address or IPv6 reference with brackets) at the start of s, 0 when there is none.
func hostLen(s string) int {
	if s != "" && s[0] == '[' {
		return referenceLen(s)
	}
	return run(s, 0, isHost)
}

// referenceLen is hostLen for an IPv6 reference.
//
//go:noinline
func referenceLen(s string) int {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return 0
	}
	if a, err := netip.ParseAddr(s[1:end]); err != nil || !a.Is6() || a.Zone() != "" {
		return 0
	}
	return end + 1
}

// portAt reads the port at i of s and gives the index behind its first five digits. It is 0 when there is none or it is over 65535.
func portAt(s string, i int) (port uint16, end int) {
	n := 0
	s = s[:min(len(s), i+5)]
	for end = i; end < len(s) && isDigit(s[end]); end++ {
		n = n*10 + int(s[end]-'0')
	}
	if n > 65535 {
		return 0, end
	}
	return uint16(n), end
}

func appendHostPort(b []byte, host string, port uint16) []byte {
	b = append(b, host...)
	if port != 0 {
		b = append(b, ':')
		b = appendNumber(b, uint32(port))
	}
	return b
}

// splitHostPort takes "host", "host:port", "[v6]", "[v6]:port" and a bare IPv6 address apart.
func splitHostPort(s string) (host string, port uint16) {
	if strings.Count(s, ":") > 1 && s[0] != '[' {
		return "[" + s + "]", 0
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.IndexByte(s[i:], ']') >= 0 {
		return s, 0
	}
	n, ok := number(s[i+1:], 65535)
	if !ok {
		return s[:i], 0
	}
	return s[:i], uint16(n)
}

// hostIP gives the address that a host is, brackets removed.
func hostIP(host string) (netip.Addr, bool) {
	if a, ok := IPv4(host); ok {
		return a, true
	}
	if host == "" {
		return netip.Addr{}, false
	}
	if host[0] == '[' {
		host = strings.TrimSuffix(host[1:], "]")
	} else if !isDigit(host[0]) {
		return netip.Addr{}, false // a name; spares ParseAddr's error value
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// IPv4 reads an IPv4 address as netip.ParseAddr does, which takes four times as much code, and more than that again to say what is wrong.
//
//go:noinline
func IPv4(s string) (a netip.Addr, ok bool) {
	ip, n, start, dots := uint32(0), uint32(0), 0, 0
	for i := range len(s) {
		c := s[i]
		if c == '.' {
			if !isOctet(n, i-start) {
				return a, false
			}
			ip, n, start = ip<<8|n, 0, i+1
			dots++
			continue
		}
		if c -= '0'; c > 9 {
			return a, false
		}
		n = n*10 + uint32(c)
	}
	if dots != 3 || !isOctet(n, len(s)-start) {
		return a, false
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 16), byte(ip >> 8), byte(ip), byte(n)}), true
}

// isOctet refuses numbers above 255 and leading zeros.
func isOctet(n uint32, digits int) bool {
	switch digits {
	case 1:
		return true
	case 2:
		return n >= 10
	case 3:
		return n >= 100 && n <= 255
	}
	return false
}
