package sip

import (
	"net/netip"
	"strings"
)

// A URI is a SIP, SIPS or other URI (RFC 3261 §19.1, RFC 3966) split into its
// parts. The parts keep the spelling they were received in, escapes included, so
// that String gives back the text that was parsed (but for the colon of an empty
// password and leading zeros of a port). It is a value: copies are independent.
type URI struct {
	Scheme   string // "sip", "sips", "tel", ... as written; compared without case
	User     string // escaped as written
	Password string // escaped as written; discouraged by §19.1.1
	Host     string // name, IPv4 address or IPv6 reference with its brackets
	Port     uint16 // 0: absent
	Params   Params // ";lr;transport=tcp", empty or starting with ';'
	Headers  string // what follows '?', without it
	Opaque   string // what follows "scheme:" when the scheme is neither sip nor sips
}

// ParseURI parses a URI without angle brackets. An absent or malformed part is a *ParseError.
func ParseURI(s string) (URI, error) {
	var u URI
	if reason, at := u.parse(s); reason != "" {
		return URI{}, bad("URI", reason, at)
	}
	return u, nil
}

// MustParseURI is ParseURI for constants; it panics on a malformed one.
func MustParseURI(s string) URI {
	u, err := ParseURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

// parse gives the reason as a string, so that checking costs no allocation.
func (u *URI) parse(s string) (reason string, at int) {
	if len(s) <= 4 || s[:4] != "sip:" {
		return u.parseAny(s)
	}
	host, hostEnd, port, params, end := plainURI(s, 4)
	if end != len(s) {
		return u.parseAny(s)
	}
	u.Scheme, u.User, u.Host, u.Params = s[:3], s[4:max(host-1, 4)], s[host:hostEnd], Params(s[params:])
	u.Port = uint16(port)
	return "", 0
}

// plainURI finds the parts of user@host:port;params from i on, where the scheme has ended; the user, when there is one, ends before the '@' before
// host. end is -1 when the URI holds anything odd; what plainURI accepts needs no other check.
func plainURI(s string, i int) (host, hostEnd, port, params, end int) {
	host = i
	if n := run(s, i, isUserChar); n > i && n < len(s) && s[n] == '@' {
		host = n + 1
	}
	hostEnd = run(s, host, isHost)
	if hostEnd == host {
		return 0, 0, 0, 0, -1
	}
	i = hostEnd
	if i < len(s) && s[i] == ':' {
		var p uint16
		if p, i = portAt(s, i+1); p == 0 {
			return 0, 0, 0, 0, -1
		}
		port = int(p)
	}
	params = i
	if i < len(s) && s[i] == ';' {
		i = run(s, i, isURIParam)
	}
	return host, hostEnd, port, params, i
}

// parseAny is parse for every URI there can be.
//
//go:noinline
func (u *URI) parseAny(s string) (reason string, at int) {
	colon := schemeLen(s)
	if colon == 0 {
		return "no scheme", 0
	}
	for i := colon; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '<' || c == '>' || c == '"' || c == 0x7f {
			return "character that must be escaped", i
		}
	}
	u.Scheme = s[:colon]
	if !u.IsSIP() {
		u.Opaque = s[colon+1:]
		if u.Opaque == "" {
			return "nothing behind the scheme", len(s)
		}
		return "", 0
	}
	return u.parseSIP(s, colon+1)
}

func (u *URI) parseSIP(s string, i int) (reason string, at int) {
	// '@' must be escaped everywhere else, so the first one ends the userinfo, whatever ';' or '?' came before (§25.1).
	if n := strings.IndexByte(s[i:], '@'); n >= 0 {
		u.User = s[i : i+n]
		if c := strings.IndexByte(u.User, ':'); c >= 0 {
			u.User, u.Password = u.User[:c], u.User[c+1:]
		}
		if u.User == "" {
			return "empty user", i
		}
		i += n + 1
	}
	n := hostLen(s[i:])
	if n == 0 {
		return "no host", i
	}
	u.Host = s[i : i+n]
	i += n
	if i < len(s) && s[i] == ':' {
		port, n := digits(s[i+1:], 65535)
		if n == 0 || port == 0 {
			return "bad port", i + 1
		}
		u.Port = uint16(port)
		i += 1 + n
	}
	rest := s[i:]
	if q := strings.IndexByte(rest, '?'); q >= 0 {
		u.Headers = rest[q+1:]
		if u.Headers == "" {
			return "empty headers", len(s)
		}
		rest = rest[:q]
	}
	if rest != "" && rest[0] != ';' {
		return "bytes behind the host", i
	}
	u.Params = Params(rest)
	return "", 0
}

// schemeLen is the index of the colon behind a well-formed scheme, else 0.
func schemeLen(s string) int {
	for i := range len(s) {
		c := s[i]
		if c == ':' {
			return i
		}
		if !is(c, isHost) && c != '+' || c == '_' || i == 0 && lower(c)-'a' > 25 {
			return 0
		}
	}
	return 0
}

// String gives the URI without angle brackets.
func (u URI) String() string { return string(u.AppendTo(make([]byte, 0, u.len()))) }

func (u *URI) len() int {
	return len(u.Scheme) + len(u.User) + len(u.Password) + len(u.Host) + len(u.Params) + len(u.Headers) + len(u.Opaque) + 10
}

// AppendTo appends what String returns.
func (u URI) AppendTo(b []byte) []byte {
	b = append(b, u.Scheme...)
	b = append(b, ':')
	if !u.IsSIP() {
		return append(b, u.Opaque...)
	}
	if u.User != "" {
		b = append(b, u.User...)
		if u.Password != "" {
			b = append(b, ':')
			b = append(b, u.Password...)
		}
		b = append(b, '@')
	}
	b = appendHostPort(b, u.Host, u.Port)
	b = append(b, u.Params...)
	if u.Headers != "" {
		b = append(b, '?')
		b = append(b, u.Headers...)
	}
	return b
}

// IsZero reports whether the URI is the zero value.
func (u URI) IsZero() bool { return u.Scheme == "" && u == URI{} }

// IsSIP reports whether the scheme is sip or sips.
func (u URI) IsSIP() bool {
	return u.Scheme == "sip" || len(u.Scheme) == 3 && equalFold(u.Scheme, "sip") || u.IsSIPS()
}

// IsSIPS reports whether the scheme is sips.
func (u URI) IsSIPS() bool { return len(u.Scheme) == 4 && equalFold(u.Scheme, "sips") }

// IP returns the host as an address when it is one (brackets removed).
func (u URI) IP() (netip.Addr, bool) { return hostIP(u.Host) }

// HostPort returns host[:port] as written.
func (u URI) HostPort() string {
	if u.Port == 0 {
		return u.Host
	}
	return string(appendHostPort(nil, u.Host, u.Port))
}

// WithHostPort returns a copy whose host and port are those of hostport ("gw", "192.0.2.1:5070",
// "[2001:db8::1]:5060"); without a port in hostport the port is removed. An maddr parameter goes too: it would override the new host
// (§19.1.1), and whoever wrote the URI would choose where the request is sent. Kamailio: rewritehostport.
func (u URI) WithHostPort(hostport string) URI {
	u.Host, u.Port = splitHostPort(hostport)
	if u.Params != "" {
		u.Params = u.Params.Without("maddr")
	}
	return u
}

// WithUser returns a copy with the user part, which is escaped as needed. Kamailio: rewriteuser.
func (u URI) WithUser(user string) URI {
	u.User = EscapeUser(user)
	return u
}

// WithParam returns a copy with the URI parameter set; an empty value writes a bare name.
func (u URI) WithParam(name, value string) URI {
	u.Params = u.Params.With(name, value)
	return u
}

// WithoutParam returns a copy without the URI parameter.
func (u URI) WithoutParam(name string) URI {
	u.Params = u.Params.Without(name)
	return u
}

// Transport returns the transport parameter in lower case, "" when absent.
func (u URI) Transport() string {
	t, _ := u.Params.Get("transport")
	return strings.ToLower(t)
}
