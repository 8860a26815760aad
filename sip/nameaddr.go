package sip

import "strings"

// A NameAddr is the value of From, To, Contact, Route, Record-Route, Path, Service-Route, ... (RFC 3261 §20.10, §25.1).
type NameAddr struct {
	Display string // display name unquoted and unescaped; "" when absent
	URI     URI
	Params  Params // header parameters: ";tag=x", ";expires=60"
	Star    bool   // Contact: *
}

// ParseNameAddr parses one value. Without angle brackets, parameters belong to the field, not to the URI (§20.10).
func ParseNameAddr(s string) (n NameAddr, err error) {
	if err = n.read(s); err != nil {
		return NameAddr{}, err
	}
	return n, nil
}

// read is ParseNameAddr into memory of the caller's, which must be zero.
func (n *NameAddr) read(s string) error {
	if reason, at := n.parse(s); reason != "" {
		return bad("address", reason, at)
	}
	return nil
}

func (n *NameAddr) parse(s string) (reason string, at int) {
	p, reason, at := splitAddr(s)
	if reason != "" {
		return reason, at
	}
	n.Params = Params(s[p.params:p.end])
	uri := s[p.uri:p.uriEnd]
	if uri == "*" && !p.brackets {
		n.Star = true
		return "", 0
	}
	if reason, at = n.URI.parse(uri); reason != "" {
		return reason, p.uri + at
	}
	n.Display = unquote(trim(s[:p.display]))
	return "", 0
}

// addrParts are the places of the parts of a name-addr or addr-spec.
type addrParts struct {
	display     int // end of the display name
	uri, uriEnd int
	params, end int // from the first ';' to the last byte that is no white space
	brackets    bool
}

// splitAddr finds the parts and checks what lies between them, not the URI itself.
func splitAddr(s string) (p addrParts, reason string, at int) {
	end := len(s)
	for end > 0 && isSpace(s[end-1]) {
		end--
	}
	p.end = end
	i := skipSpace(s[:end], 0)
	start := i
	if i < end && s[i] == '"' {
		if i = skipQuoted(s[:end], i); i < 0 {
			return p, "quote is never closed", start
		}
		i = skipSpace(s[:end], i)
		if i == end || s[i] != '<' {
			return p, "no < behind the display name", i
		}
	}
	lt := strings.IndexByte(s[i:end], '<')
	if lt < 0 {
		return splitAddrSpec(s, i, end)
	}
	for k := i; k < i+lt; k++ {
		switch s[k] {
		case ';', '"', '>', ',', '\\':
			if s[k] == ';' {
				return splitAddrSpec(s, i, end) // the '<' belongs to a parameter
			}
			return p, "display name must be quoted", k
		}
	}
	p.brackets, p.display = true, i+lt
	p.uri = i + lt + 1
	gt := strings.IndexByte(s[p.uri:end], '>')
	if gt < 0 {
		return p, "< is never closed", p.uri - 1
	}
	p.uriEnd = p.uri + gt
	p.params = skipSpace(s[:end], p.uriEnd+1)
	if p.params < end && s[p.params] != ';' {
		return p, "bytes behind the >", p.params
	}
	return p, "", 0
}

func splitAddrSpec(s string, i, end int) (p addrParts, reason string, at int) {
	p.uri, p.display, p.end = i, i, end
	n := strings.IndexByte(s[i:end], ';')
	if n < 0 {
		n = end - i
	}
	p.params = i + n
	p.uriEnd = p.params
	for p.uriEnd > i && isSpace(s[p.uriEnd-1]) {
		p.uriEnd--
	}
	if k := strings.IndexAny(s[i:p.uriEnd], "?,"); k >= 0 {
		return p, "URI must stand in < >", i + k // §20: with '?', ',' or ';'
	}
	return p, "", 0
}

// unquote takes the quotes and backslashes of a quoted string away.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// appendQuoted writes s as a quoted string; line breaks, which must not get into a field, become spaces.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\r', '\n':
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// String gives the value, always with angle brackets.
func (n NameAddr) String() string { return string(n.AppendTo(nil)) }

// AppendTo appends what String returns.
func (n NameAddr) AppendTo(b []byte) []byte {
	if n.Star {
		b = append(b, '*')
		return append(b, n.Params...)
	}
	if n.Display != "" {
		b = appendQuoted(b, n.Display)
		b = append(b, ' ')
	}
	b = append(b, '<')
	b = n.URI.AppendTo(b)
	b = append(b, '>')
	return append(b, n.Params...)
}

// Tag returns the tag parameter, "" when absent.
func (n NameAddr) Tag() string {
	t, _ := n.Params.Get("tag")
	return t
}
