package sip

import (
	"iter"
	"strings"
)

// raw gives the value of the first field with that id.
//
//go:noinline
func (h *Header) raw(id fieldID) (string, bool) {
	if f := h.field(id); f != nil {
		return h.value(f), true
	}
	return "", false
}

// Via is the topmost Via value. Like all typed views it gives the zero value and ErrNoField when the field is absent, a *ParseError when it is malformed.
func (h *Header) Via() (v Via, err error) {
	f := h.field(idVia)
	if f == nil {
		return v, ErrNoField
	}
	s := h.value(f)
	m := h.via(f)
	if m == nil {
		return firstVia(s)
	}
	if m.list {
		s = s[:strings.IndexByte(s, ',')]
	}
	v.Protocol, v.Transport = s[:len("SIP/2.0")], s[len("SIP/2.0/"):m.transport]
	v.Host, v.Port, v.Params = s[m.transport+1:m.host], m.port, Params(s[m.params:])
	return v, nil
}

// firstVia is Via for a value of unusual form.
//
//go:noinline
func firstVia(s string) (Via, error) {
	for rest := s; rest != ""; {
		if s, rest = cutComma(rest); s != "" {
			return ParseVia(s)
		}
	}
	return Via{}, bad("Via", "empty", 0)
}

// Branch is the branch parameter of the topmost Via, "" when absent. It does not check the Via.
func (h *Header) Branch() string {
	f := h.field(idVia)
	if f == nil {
		return ""
	}
	if m := h.via(f); m != nil {
		return h.value(f)[m.branch:m.branchEnd]
	}
	return branchIn(h.value(f))
}

// branchIn is Branch for a value of unusual form.
//
//go:noinline
func branchIn(s string) string {
	first := ""
	for first == "" && s != "" {
		first, s = cutComma(s)
	}
	i := strings.IndexByte(first, ';')
	if i < 0 {
		return ""
	}
	b, _ := Params(first[i:]).Get("branch")
	return b
}

// ViasContain reports whether text, which must not be empty, occurs in a Via field; where possible it looks at the branches alone. It is a
// quick way to learn that there is nothing to look for in Vias, as for loops (RFC 3261 §16.3 step 4).
func (h *Header) ViasContain(text string) bool {
	l := h.list()
	for i := range l {
		if l[i].id != idVia {
			continue
		}
		v := h.value(&l[i])
		if m := h.via(&l[i]); m != nil && !m.list {
			v = v[m.branch:m.branchEnd]
		}
		for {
			at := strings.IndexByte(v, text[0])
			if at < 0 {
				break
			}
			if v = v[at:]; strings.HasPrefix(v, text) {
				return true
			}
			v = v[1:]
		}
	}
	return false
}

// Vias yields every Via value, topmost first.
func (h *Header) Vias() iter.Seq2[Via, error] {
	return func(yield func(Via, error) bool) {
		h.values("Via", true, func(s string) bool { return yield(ParseVia(s)) })
	}
}

func (h *Header) nameAddr(id fieldID) (NameAddr, error) {
	s, ok := h.raw(id)
	if !ok {
		return NameAddr{}, ErrNoField
	}
	return ParseNameAddr(s)
}

// From is the From field.
func (h *Header) From() (NameAddr, error) { return h.nameAddr(idFrom) }

// To is the To field.
func (h *Header) To() (NameAddr, error) { return h.nameAddr(idTo) }

// FromTag is the tag of From, "" when absent. It parses no URI.
func (h *Header) FromTag() string { return h.tag(idFrom, &h.from) }

// ToTag is the tag of To, "" when absent. It parses no URI.
func (h *Header) ToTag() string { return h.tag(idTo, &h.to) }

//go:noinline
func (h *Header) tag(id fieldID, m *tagMark) string {
	f := h.field(id)
	if f == nil {
		return ""
	}
	s := h.value(f)
	if f.at != m.at {
		return tagIn(s)
	}
	return s[m.tag:m.end]
}

// tagIn is tag for a value of unusual form.
//
//go:noinline
func tagIn(s string) string {
	t, _ := Params(s[addrParamsAt(s):]).Get("tag")
	return t
}

// addrParamsAt finds where the header parameters of a name-addr or addr-spec start.
func addrParamsAt(s string) int {
	at := 0
	for at < len(s) && s[at] == '"' {
		end := skipQuoted(s, at)
		if end < 0 {
			break
		}
		at = end
	}
	lt := strings.IndexByte(s[at:], '<')
	semi := strings.IndexByte(s[at:], ';')
	if lt >= 0 && (semi < 0 || lt < semi) {
		gt := strings.IndexByte(s[at+lt:], '>')
		if gt < 0 {
			return len(s)
		}
		return at + lt + gt + 1
	}
	if semi < 0 {
		return len(s)
	}
	return at + semi
}

// CallID is the Call-ID, "" when absent.
func (h *Header) CallID() string { return h.get(idCallID) }

// ContentType is the value of Content-Type, "" when absent.
func (h *Header) ContentType() string { return h.get(idContentType) }

// CSeq gives sequence number (less than 2^31, §8.1.1.5) and method.
func (h *Header) CSeq() (seq uint32, m Method, err error) {
	s, ok := h.raw(idCSeq)
	if !ok {
		return 0, "", ErrNoField
	}
	if seq, m = plainCSeq(s); m != "" {
		return seq, m, nil
	}
	seq, m, reason := parseCSeq(s)
	if reason != "" {
		return 0, "", bad("CSeq", reason, 0)
	}
	return seq, m, nil
}

func parseCSeq(s string) (seq uint32, m Method, reason string) {
	name, reason := cseqMethod(s)
	if reason != "" {
		return 0, "", reason
	}
	n, _ := digits(s, 1<<31-1)
	return uint32(n), knownMethod(name), ""
}

// cseqMethod checks a CSeq value and gives its method.
func cseqMethod(s string) (method, reason string) {
	_, end := digits(s, 1<<31-1)
	if end == 0 || end < len(s) && isDigit(s[end]) {
		return "", "number missing or not below 2^31"
	}
	i := skipSpace(s, end)
	if i == end || !allOf(s[i:], isToken) {
		return "", "no method behind the number"
	}
	return s[i:], ""
}

func (h *Header) number(id fieldID, max uint64) (uint64, error) {
	s, ok := h.raw(id)
	if !ok {
		return 0, ErrNoField
	}
	n, ok := number(s, max)
	if !ok {
		return 0, bad(fieldNames[id], "no number or too large", 0)
	}
	return n, nil
}

// MaxForwards is 0 to 255 (§20.22).
func (h *Header) MaxForwards() (n int, err error) {
	u, err := h.number(idMaxForwards, 255)
	return int(u), err
}

// MaxBreadth is the Max-Breadth field (RFC 5393 §5.3.1).
func (h *Header) MaxBreadth() (n int, err error) {
	u, err := h.number(idMaxBreadth, 1<<31-1)
	return int(u), err
}

// Expires is the Expires field, in seconds.
func (h *Header) Expires() (seconds uint32, err error) {
	u, err := h.number(idExpires, 1<<32-1)
	return uint32(u), err
}

// MinExpires is the Min-Expires field, in seconds.
func (h *Header) MinExpires() (seconds uint32, err error) {
	u, err := h.number(idMinExpires, 1<<32-1)
	return uint32(u), err
}

// ContentLength is the Content-Length field as written, whatever the body's length is.
func (h *Header) ContentLength() (n int, err error) {
	u, err := h.number(idContentLength, 1<<31-1)
	return int(u), err
}

// RetryAfter is the Retry-After field without comment and parameters, in seconds.
func (h *Header) RetryAfter() (seconds uint32, err error) {
	s, ok := h.raw(idRetryAfter)
	if !ok {
		return 0, ErrNoField
	}
	n, end := digits(s, 1<<32-1)
	rest := trim(s[end:])
	if end == 0 || rest != "" && rest[0] != '(' && rest[0] != ';' {
		return 0, bad("Retry-After", "no number or too large", 0)
	}
	return uint32(n), nil
}

// Contacts yields every Contact value.
func (h *Header) Contacts() iter.Seq2[NameAddr, error] { return h.NameAddrs("Contact") }

// Routes yields every Route value, topmost first.
func (h *Header) Routes() iter.Seq2[NameAddr, error] { return h.NameAddrs("Route") }

// RecordRoutes yields every Record-Route value, topmost first.
func (h *Header) RecordRoutes() iter.Seq2[NameAddr, error] { return h.NameAddrs("Record-Route") }

// NameAddrs is Contacts for any field of that shape (Path, Service-Route, P-Asserted-Identity ...).
func (h *Header) NameAddrs(name string) iter.Seq2[NameAddr, error] {
	return func(yield func(NameAddr, error) bool) {
		h.values(name, true, func(s string) bool { return yield(ParseNameAddr(s)) })
	}
}
