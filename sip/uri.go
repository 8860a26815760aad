package sip

import "net/netip"

// A URI is a SIP, SIPS or other URI (RFC 3261 §19.1, RFC 3966) split into its
// parts. The parts keep the spelling they were received in, escapes included, so
// that String gives back the text that was parsed. It is a value: copies are independent.
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
func ParseURI(s string) (URI, error) { panic("stub") }

// MustParseURI is ParseURI for constants; it panics on a malformed one.
func MustParseURI(s string) URI { panic("stub") }

func (u URI) String() string           { panic("stub") }
func (u URI) AppendTo(b []byte) []byte { panic("stub") }
func (u URI) IsZero() bool             { return u == URI{} }

// IsSIP reports whether the scheme is sip or sips.
func (u URI) IsSIP() bool { panic("stub") }

// IsSIPS reports whether the scheme is sips.
func (u URI) IsSIPS() bool { panic("stub") }

// Equal compares by RFC 3261 §19.1.4 (tel by RFC 3966 §4).
func (u URI) Equal(v URI) bool { panic("stub") }

// IP returns the host as an address when it is one (brackets removed).
func (u URI) IP() (netip.Addr, bool) { panic("stub") }

// HostPort returns host[:port] as written.
func (u URI) HostPort() string { panic("stub") }

// WithHostPort returns a copy whose host and port are those of hostport ("gw", "192.0.2.1:5070",
// "[2001:db8::1]:5060"); without a port in hostport the port is removed. Kamailio: rewritehostport.
func (u URI) WithHostPort(hostport string) URI { panic("stub") }

// WithUser returns a copy with the user part, which is escaped as needed. Kamailio: rewriteuser.
func (u URI) WithUser(user string) URI { panic("stub") }

// WithParam returns a copy with the URI parameter set; an empty value writes a bare name.
func (u URI) WithParam(name, value string) URI { panic("stub") }
func (u URI) WithoutParam(name string) URI     { panic("stub") }

// Transport returns the transport parameter in lower case, "" when absent.
func (u URI) Transport() string { panic("stub") }

// Unescape decodes %HH sequences, Escape encodes what the user part may not hold literally.
func Unescape(s string) string   { panic("stub") }
func EscapeUser(s string) string { panic("stub") }
