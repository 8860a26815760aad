package sip

import "strings"

// Equal compares by RFC 3261 §19.1.4 (tel by RFC 3966 §4). URIs of other schemes are equal when the scheme is, without case, and the rest is byte for byte.
func (u URI) Equal(v URI) bool {
	if u == v {
		return true // also when a parameter stands there twice, which §19.1.1 forbids and the rest gives no meaning
	}
	if !equalFold(u.Scheme, v.Scheme) {
		return false
	}
	if !u.IsSIP() {
		if equalFold(u.Scheme, "tel") {
			return telEqual(u.Opaque, v.Opaque)
		}
		return u.Opaque == v.Opaque
	}
	return u.Port == v.Port && hostEqual(u.Host, v.Host) &&
		escEqual(u.User, v.User, false) && escEqual(u.Password, v.Password, false) &&
		paramsMatch(u.Params, v.Params) && paramsMatch(v.Params, u.Params) &&
		headersMatch(u.Headers, v.Headers) && headersMatch(v.Headers, u.Headers)
}

func hostEqual(a, b string) bool {
	if equalFold(a, b) {
		return true
	}
	if a == "" || b == "" || a[0] != '[' || b[0] != '[' {
		return false
	}
	x, ok1 := hostIP(a) // one IPv6 address has many spellings (RFC 5954 §4.2)
	y, ok2 := hostIP(b)
	return ok1 && ok2 && x == y
}

// escEqual compares two spellings of escaped text: %HH equals the character it encodes. A reserved character and its
// escape differ (§19.1.4), because only the literal one delimits.
func escEqual(a, b string, fold bool) bool {
	if a == b {
		return true
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		x, n := unescapeAt(a, i)
		y, m := unescapeAt(b, j)
		if fold {
			x, y = lower(x), lower(y)
		}
		if x != y || n != m && isReserved(x) {
			return false
		}
		i += n
		j += m
	}
	return i == len(a) && j == len(b)
}

func isReserved(c byte) bool { return strings.IndexByte(";/?:@&=+$,", c) >= 0 }

// paramsMatch checks every parameter of p against q: one in both must match; user, ttl, method and maddr may not
// be in one alone, and neither may transport; all others are ignored when in one alone.
func paramsMatch(p, q Params) bool {
	for i := 0; ; {
		a, ok := p.next(i)
		if !ok {
			return true
		}
		i = a.end
		if a.name == "" {
			continue
		}
		b, ok := q.findEscaped(a.name)
		if !ok && mustMatch(a.name) || ok && !escEqual(a.value, b.value, true) {
			return false
		}
	}
}

// findEscaped is find for URI parameters, whose names may hold escapes.
func (p Params) findEscaped(name string) (q param, ok bool) {
	for i := 0; ; i = q.end {
		if q, ok = p.next(i); !ok || escEqual(q.name, name, true) {
			return q, ok
		}
	}
}

func mustMatch(name string) bool {
	for _, n := range [...]string{"transport", "user", "ttl", "method", "maddr"} {
		if escEqual(name, n, true) {
			return true
		}
	}
	return false
}

// headersMatch finds every header component of a in b; they are never ignored.
func headersMatch(a, b string) bool {
	for a != "" {
		var one string
		one, a, _ = strings.Cut(a, "&")
		if !headerIn(one, b) {
			return false
		}
	}
	return true
}

func headerIn(one, all string) bool {
	name, value, _ := strings.Cut(one, "=")
	for all != "" {
		var other string
		other, all, _ = strings.Cut(all, "&")
		n, v, _ := strings.Cut(other, "=")
		if escEqual(name, n, true) && escEqual(value, v, false) {
			return true
		}
	}
	return false
}

// telEqual compares two telephone numbers (RFC 3966 §4): visual separators do not count, parameters match in any order.
func telEqual(a, b string) bool {
	numA, parA := cutParams(a)
	numB, parB := cutParams(b)
	return digitsEqual(numA, numB) && telParams(parA, parB) && telParams(parB, parA)
}

func cutParams(s string) (string, Params) {
	if i := strings.IndexByte(s, ';'); i >= 0 {
		return s[:i], Params(s[i:])
	}
	return s, ""
}

func digitsEqual(a, b string) bool {
	for {
		a, b = skipVisual(a), skipVisual(b)
		if a == "" || b == "" {
			return a == b
		}
		if lower(a[0]) != lower(b[0]) {
			return false
		}
		a, b = a[1:], b[1:]
	}
}

func skipVisual(s string) string {
	for s != "" && strings.IndexByte("-.()", s[0]) >= 0 {
		s = s[1:]
	}
	return s
}

func telParams(p, q Params) bool {
	for i := 0; ; {
		a, ok := p.next(i)
		if !ok {
			return true
		}
		i = a.end
		b, ok := q.findEscaped(a.name)
		if !ok {
			return false
		}
		if equalFold(a.name, "ext") || equalFold(a.name, "phone-context") && strings.HasPrefix(a.value, "+") {
			ok = digitsEqual(a.value, b.value)
		} else {
			ok = escEqual(a.value, b.value, true)
		}
		if !ok {
			return false
		}
	}
}
