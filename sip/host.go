package sip

import (
	"net/netip"
	"strconv"
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

func appendHostPort(b []byte, host string, port uint16) []byte {
	b = append(b, host...)
	if port != 0 {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(port), 10)
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
