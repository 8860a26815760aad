package sip

import (
	"iter"
	"strings"
)

// Params is the raw text of a parameter list, empty or starting with ';' (";lr;ftag=a").
// Names compare without case. Methods parse as they go and allocate nothing when reading.
type Params string

// param is one parameter with its place in the list: [start, end) holds the ';' too.
type param struct {
	name, value string
	start, end  int
}

// next reads the parameter whose ';' is at or behind i; ok is false at the end of the list.
func (p Params) next(i int) (q param, ok bool) {
	s := string(p)
	i = skipSpace(s, i)
	if i >= len(s) {
		return q, false
	}
	q.start = i
	if s[i] == ';' {
		i++
	}
	from := i
	for i < len(s) && is(s[i], isToken) {
		i++
	}
	if i == len(s) || s[i] == ';' {
		q.name, q.end = s[from:i], i
		return q, true
	}
	if s[i] == '=' && i+1 < len(s) && s[i+1] != '"' && !isSpace(s[i+1]) {
		q.name = s[from:i]
		if q.end = strings.IndexByte(s[i:], ';') + i; q.end < i {
			q.end = len(s)
		}
		q.value = trim(s[i+1 : q.end])
		return q, true
	}
	p.slow(&q, from)
	return q, true
}

// slow reads what white space or quotes make less simple: the parameter whose name starts at i.
func (p Params) slow(q *param, i int) {
	s := string(p)
	from, eq := i, -1
	quotes := true // false: one never ends, see commaAt
scan:
	for i < len(s) {
		switch s[i] {
		case ';':
			break scan
		case '=':
			if eq < 0 {
				eq = i
			}
		case '"':
			if eq < 0 || !quotes {
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
	q.end = i
	if eq < 0 {
		q.name = trim(s[from:i])
		return
	}
	q.name, q.value = trim(s[from:eq]), trim(s[eq+1:i])
}

func (p Params) find(name string) (q param, ok bool) {
	if !p.mayHave(name) {
		return q, false
	}
	return p.findFrom(0, name)
}

// findFrom is find from i on, where a parameter ends or the list begins.
func (p Params) findFrom(i int, name string) (q param, ok bool) {
	for ; ; i = q.end {
		if q, ok = p.next(i); !ok || equalFold(q.name, name) {
			return q, ok
		}
	}
}

// mayHave looks at the letters behind semicolons only. What is asked for is mostly not there, and then parameters need not be told apart.
func (p Params) mayHave(name string) bool {
	if p == "" || p[0] != ';' || name == "" {
		return p != ""
	}
	for i := 1; i < len(p); {
		if c := p[i]; c|0x20 == name[0]|0x20 || isSpace(c) || c == ';' {
			return true
		}
		k := strings.IndexByte(string(p[i:]), ';')
		if k < 0 {
			return false
		}
		i += k + 1
	}
	return false
}

// Get returns the value of the first parameter of that name, quotes kept, and whether the name is there at all.
func (p Params) Get(name string) (value string, ok bool) {
	if !p.mayHave(name) {
		return "", false
	}
	if from, to, plain := plainParams(string(p), 0, name); plain {
		return string(p[from:to]), from > 0
	}
	q, ok := p.find(name)
	return q.value, ok
}

// Has reports whether the name is there, with or without a value.
func (p Params) Has(name string) bool {
	if !p.mayHave(name) {
		return false
	}
	if from, _, plain := plainParams(string(p), 0, name); plain {
		return from > 0
	}
	_, ok := p.find(name)
	return ok
}

// All yields name and value ("" for a bare name) in order.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) { p.all(yield) }
}

func (p Params) all(yield func(string, string) bool) {
	for i := 0; ; {
		q, ok := p.next(i)
		if !ok {
			return
		}
		if q.name != "" && !yield(q.name, q.value) {
			return
		}
		i = q.end
	}
}

// With returns the list with the parameter replaced in place or appended; an empty value writes a bare name.
func (p Params) With(name, value string) Params {
	text := ";" + name
	if value != "" {
		text += "=" + value
	}
	q, ok := p.find(name)
	if !ok {
		return Params(strings.TrimRight(string(p), " \t\r\n") + text)
	}
	return p[:q.start] + Params(text) + p[q.end:]
}

// Without returns the list without every parameter of that name.
func (p Params) Without(name string) Params {
	q, ok := p.find(name)
	if !ok {
		return p
	}
	kept := make([]byte, 0, len(p))
	from := 0
	for ; ok; q, ok = p.findFrom(q.end, name) {
		kept = append(kept, p[from:q.start]...)
		from = q.end
	}
	return Params(append(kept, p[from:]...))
}
