package nat

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sipkit/sipkit/sip"
	"github.com/sipkit/sipkit/transport"
)

// aliasValue is an address as Kamailio writes it into a Contact: "203.0.113.7~40000~1", the protocol as a number (udp, tcp, tls, sctp, ws, wss: 1 to 6).
func aliasValue(a transport.Addr) string {
	b := append(make([]byte, 0, 48), hostText(a.AddrPort.Addr())...)
	b = append(b, '~')
	b = strconv.AppendUint(b, uint64(a.AddrPort.Port()), 10)
	b = append(b, '~')
	return string(strconv.AppendUint(b, uint64(a.Proto), 10))
}

// parseAlias reads one. IPv6 addresses may come without brackets.
func parseAlias(s string) (transport.Addr, bool) {
	host, rest, _ := strings.Cut(s, "~")
	port, proto, ok := strings.Cut(rest, "~")
	if !ok {
		return transport.Addr{}, false
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
		if !strings.Contains(host, ":") {
			return transport.Addr{}, false
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return transport.Addr{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		return transport.Addr{}, false
	}
	n, err := strconv.ParseUint(proto, 10, 8)
	if err != nil || n < uint64(transport.UDP) || n > uint64(transport.WSS) {
		return transport.Addr{}, false
	}
	return transport.Addr{Proto: transport.Proto(n), AddrPort: netip.AddrPortFrom(ip.Unmap(), uint16(p))}, true
}

// addAlias puts the alias right behind host and port, before the other parameters, where Kamailio's add_contact_alias puts it.
func addAlias(u sip.URI, param, value, sig string) sip.URI {
	p := ";" + param + "=" + value
	if sig != "" {
		p += ";" + param + "sig=" + sig
	}
	u.Params = sip.Params(p) + u.Params
	return u
}

// cutAlias takes the first alias off a URI; false when there is none or it is malformed, and u stays as it is.
func cutAlias(u sip.URI, param string) (rest sip.URI, at transport.Addr, value, sig string, ok bool) {
	value, ok = u.Params.Get(param)
	if !ok {
		return u, at, "", "", false
	}
	if at, ok = parseAlias(value); !ok {
		return u, at, "", "", false
	}
	sig, _ = u.Params.Get(param + "sig")
	rest = u.WithoutParam(param)
	if sig != "" {
		rest = rest.WithoutParam(param + "sig")
	}
	return rest, at, value, sig, true
}
