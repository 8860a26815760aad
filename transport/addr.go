package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/sip"
)

// An Addr is a protocol and an address. It is comparable; the zero value means "none".
type Addr struct {
	Proto    Proto
	AddrPort netip.AddrPort
	Name     string // host name the address was resolved from: TLS server name, WebSocket Host; "" for literals
}

// IsZero reports whether a is the zero value.
func (a Addr) IsZero() bool { return a == Addr{} }

// String is the form ParseAddr reads: "udp:192.0.2.1:5060". Name is left out.
func (a Addr) String() string {
	if a.IsZero() {
		return ""
	}
	return a.Proto.String() + ":" + a.AddrPort.String()
}

var errBadAddr = errors.New("transport: malformed address")

// ParseAddr reads "udp:192.0.2.1:5060"; protocol and port may be left out (udp, its default port).
// IPv6 addresses need brackets when a port follows.
func ParseAddr(s string) (Addr, error) {
	p, rest := cutProto(s)
	ip, port, err := parseIPPort(rest)
	if err != nil {
		return Addr{}, fmt.Errorf("%w: %q", errBadAddr, s)
	}
	if port < 0 {
		port = int(p.DefaultPort())
	}
	return Addr{Proto: p, AddrPort: netip.AddrPortFrom(ip, uint16(port))}, nil
}

// cutProto takes a leading "proto:" off s; udp when there is none.
func cutProto(s string) (Proto, string) {
	if head, rest, ok := strings.Cut(s, ":"); ok {
		if p, known := ParseProto(head); known {
			return p, rest
		}
	}
	return UDP, s
}

// parseIPPort reads an IP literal and its port; -1 when absent.
func parseIPPort(s string) (netip.Addr, int, error) {
	host, port, err := splitHostPort(s)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	ip, ok := parseIP(host)
	if !ok {
		return netip.Addr{}, 0, errBadAddr
	}
	return ip, port, nil
}

// splitHostPort splits host[:port]; the port is -1 when absent. A bare IPv6 literal has no port.
func splitHostPort(s string) (host string, port int, err error) {
	at := strings.LastIndexByte(s, ':')
	switch {
	case at < 0:
		return s, -1, nil
	case strings.IndexByte(s, ':') != at && !strings.HasPrefix(s, "["):
		return s, -1, nil // several colons without brackets
	case strings.HasSuffix(s, "]"):
		return s, -1, nil
	}
	n, err := strconv.ParseUint(s[at+1:], 10, 16)
	if err != nil {
		return "", 0, errBadAddr
	}
	return s[:at], int(n), nil
}

// parseIP reads an IP literal, with or without brackets; IPv4-mapped addresses become IPv4.
func parseIP(host string) (netip.Addr, bool) {
	if ip, ok := sip.IPv4(host); ok {
		return ip, true
	}
	if !maybeIP(host) {
		return netip.Addr{}, false
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	ip, err := netip.ParseAddr(host)
	return ip.Unmap(), err == nil
}

// maybeIP spares names the error that netip.ParseAddr would allocate.
func maybeIP(host string) bool {
	if host == "" {
		return false
	}
	if host[0] == '[' || strings.IndexByte(host, ':') >= 0 {
		return true
	}
	c := host[len(host)-1]
	return c >= '0' && c <= '9'
}

func isIPHost(host string) bool {
	_, ok := parseIP(host)
	return ok
}

// hostString is ip as it stands in a URI or Via: IPv6 in brackets, without a zone.
func hostString(ip netip.Addr) string {
	if ip.Is6() {
		return "[" + ip.WithZone("").String() + "]"
	}
	return ip.String()
}

// ParseListen reads a listen address, "udp:0.0.0.0:5060", and the advertised sent-by after '=', when there is one:
// "udp:10.0.0.5:5060=203.0.113.5:5060". The advertised host may be a name, its port may be left out (the listening port).
func ParseListen(spec string) (listen Addr, advertised string, err error) {
	bind, advertised, found := strings.Cut(spec, "=")
	if found {
		if _, _, err = parseAdvertised(advertised); err != nil {
			return Addr{}, "", fmt.Errorf("transport: listen %q: %w", spec, err)
		}
	}
	if listen, err = ParseAddr(bind); err != nil {
		return Addr{}, "", fmt.Errorf("transport: listen %q: %w", spec, err)
	}
	return listen, advertised, nil
}

// parseAdvertised splits an advertised sent-by; the port is 0 when absent.
func parseAdvertised(s string) (host string, port uint16, err error) {
	host, n, err := splitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	if ip, ok := parseIP(host); ok {
		host = hostString(ip)
	} else if host == "" || strings.ContainsAny(host, " \t;,@<>[]\"") {
		return "", 0, errBadAddr
	}
	return host, uint16(max(n, 0)), nil
}
