package sip

import (
	"strconv"
	"strings"
)

// A Via is one Via value (RFC 3261 §20.42).
type Via struct {
	Protocol  string // "SIP/2.0", white space removed
	Transport string // "UDP" as written
	Host      string
	Port      uint16 // 0: absent
	Params    Params
}

// MagicCookie starts every branch made by an RFC 3261 element (§8.1.1.7).
const MagicCookie = "z9hG4bK"

// ParseVia parses one Via value, without commas. White space may stand round every separator (§25.1).
func ParseVia(s string) (Via, error) {
	v, reason, at := parseVia(s)
	if reason != "" {
		return Via{}, bad("Via", reason, at)
	}
	return v, nil
}

// parseVia gives the reason as a string, so that checking costs no allocation.
func parseVia(s string) (v Via, reason string, at int) {
	i := skipSpace(s, 0)
	if strings.HasPrefix(s[i:], "SIP/2.0/") {
		v.Protocol = s[i : i+7]
		i += 8
	} else if v.Protocol, i = viaProtocol(s, i); v.Protocol == "" {
		return v, "no sent-protocol", i
	}
	i = skipSpace(s, i)
	from := i
	for i < len(s) && is(s[i], isToken) {
		i++
	}
	v.Transport = s[from:i]
	if v.Transport == "" || i == len(s) || !isSpace(s[i]) {
		return v, "no transport", i
	}
	i = skipSpace(s, i)
	n := hostLen(s[i:])
	if n == 0 {
		return v, "no host in sent-by", i
	}
	v.Host = s[i : i+n]
	i = skipSpace(s, i+n)
	if i < len(s) && s[i] == ':' {
		i = skipSpace(s, i+1)
		port, n := digits(s[i:], 65535)
		if n == 0 || port == 0 {
			return v, "bad port in sent-by", i
		}
		v.Port = uint16(port)
		i = skipSpace(s, i+n)
	}
	if i < len(s) && s[i] != ';' {
		return v, "bytes behind sent-by", i
	}
	end := len(s)
	for end > i && isSpace(s[end-1]) {
		end--
	}
	v.Params = Params(s[i:end])
	if at, ok := goodParams(string(v.Params)); !ok {
		return v, "bad parameter", i + at
	}
	return v, "", 0
}

// viaProtocol reads "SIP / 2.0 /" in its slow, general form and returns the index behind the second slash.
func viaProtocol(s string, i int) (string, int) {
	var part [2]string
	for k := range part {
		i = skipSpace(s, i)
		from := i
		for i < len(s) && is(s[i], isToken) {
			i++
		}
		part[k] = s[from:i]
		i = skipSpace(s, i)
		if part[k] == "" || i == len(s) || s[i] != '/' {
			return "", i
		}
		i++
	}
	return part[0] + "/" + part[1], i
}

// goodParams checks ";name[=value]" lists: no empty name, no unbalanced quote.
func goodParams(s string) (at int, ok bool) {
	for i := 0; i < len(s); {
		if s[i] != ';' {
			return i, false
		}
		i = skipSpace(s, i+1)
		from := i
		for i < len(s) && is(s[i], isToken) {
			i++
		}
		if i == from {
			return i, false
		}
		i = skipSpace(s, i)
		if i < len(s) && s[i] == '=' {
			if i = paramValue(s, skipSpace(s, i+1)); i < 0 {
				return len(s), false
			}
			i = skipSpace(s, i)
		}
	}
	return 0, true
}

// paramValue returns the index behind the parameter value at i; -1: a quote is never closed.
func paramValue(s string, i int) int {
	if i < len(s) && s[i] == '"' {
		return skipQuoted(s, i)
	}
	for i < len(s) && s[i] > ' ' && s[i] != ';' && s[i] != ',' && s[i] != '"' {
		i++
	}
	return i
}

// String gives the value with single separators.
func (v Via) String() string { return string(v.AppendTo(nil)) }

// AppendTo appends what String returns.
func (v Via) AppendTo(b []byte) []byte { return v.append(b) }

func (v *Via) append(b []byte) []byte {
	if v.Protocol == "" {
		b = append(b, "SIP/2.0/"...)
	} else {
		b = append(b, v.Protocol...)
		b = append(b, '/')
	}
	b = append(b, v.Transport...)
	b = append(b, ' ')
	b = appendHostPort(b, v.Host, v.Port)
	return append(b, v.Params...)
}

// Branch returns the branch parameter, "" when absent.
func (v Via) Branch() string {
	p := string(v.Params)
	if from, to, ok := plainParams(p, 0, "branch"); ok {
		return p[from:to]
	}
	b, _ := v.Params.Get("branch")
	return b
}

// HostPort is the sent-by as written.
func (v Via) HostPort() string {
	if v.Port == 0 {
		return v.Host
	}
	return v.Host + ":" + strconv.Itoa(int(v.Port))
}
