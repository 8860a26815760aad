package sip

import (
	"iter"
	"strings"
)

// An Auth is one value of Authorization, Proxy-Authorization, WWW-Authenticate or Proxy-Authenticate: a scheme and its
// parameters (RFC 3261 §25.1, RFC 7616). Each such field holds one; several challenges come in several fields (§7.3.1).
type Auth struct {
	Scheme string // "Digest" as written; compared without case
	Params AuthParams
}

// AuthParams is the raw text of auth-params, separated by commas. White space and folds between them do not count.
// Names compare without case. Methods parse as they go; they allocate only to undo a backslash.
type AuthParams string

// ParseAuth splits the scheme from the parameters. Whatever follows the scheme is accepted; the parameters come out as far as they can be told apart.
func ParseAuth(s string) (Auth, error) {
	s = trim(s)
	i := 0
	for i < len(s) && is(s[i], isToken) {
		i++
	}
	if i == 0 || i < len(s) && !isSpace(s[i]) {
		return Auth{}, bad("authentication", "no scheme", i)
	}
	return Auth{Scheme: s[:i], Params: AuthParams(trim(s[i:]))}, nil
}

// IsDigest reports whether the scheme is Digest.
func (a Auth) IsDigest() bool { return equalFold(a.Scheme, "Digest") }

// Auths yields the value of every field of that name (Authorization, WWW-Authenticate ...).
func (h *Header) Auths(name string) iter.Seq2[Auth, error] {
	return func(yield func(Auth, error) bool) {
		h.values(name, false, func(s string) bool { return yield(ParseAuth(s)) })
	}
}

// Get returns the value of the first parameter of that name without its quotes, and whether the name is there at all.
func (p AuthParams) Get(name string) (value string, ok bool) {
	p.all(func(n, v string) bool {
		if ok = equalFold(n, name); ok {
			value = unquote(v)
		}
		return !ok
	})
	return value, ok
}

// All yields name and value without its quotes ("" for a bare name) in order.
func (p AuthParams) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		p.all(func(n, v string) bool { return yield(n, unquote(v)) })
	}
}

// all yields the values with their quotes.
func (p AuthParams) all(yield func(name, value string) bool) {
	for rest := string(p); rest != ""; {
		var one string
		one, rest = cutAuthComma(rest)
		name, value := one, ""
		if i := strings.IndexByte(one, '='); i >= 0 {
			name, value = trim(one[:i]), trim(one[i+1:])
		}
		if name != "" && !yield(name, value) {
			return
		}
	}
}

// cutAuthComma is cutComma for auth-params, where < and > are plain characters.
func cutAuthComma(s string) (one, rest string) {
	quotes := true // false: one never ends, see commaAt
	for i := 0; i < len(s); {
		switch s[i] {
		case ',':
			return trim(s[:i]), s[i+1:]
		case '"':
			if !quotes {
				break
			}
			if end := skipQuoted(s, i); end > 0 {
				i = end
				continue
			}
			quotes = false
		}
		i++
	}
	return trim(s), ""
}
