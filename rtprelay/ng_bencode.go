package rtprelay

import (
	"bufio"
	"errors"
	"strconv"
)

// Limits of what is read: a daemon's answer never comes near them.
const (
	bencodeDepth = 32
	bencodeItems = 100_000
)

var errBencode = errors.New("rtprelay: not bencode")

// bvalue is one decoded value: a string, a number, a list or a dictionary (in the order sent).
type bvalue struct {
	kind byte // 's', 'i', 'l', 'd'
	str  string
	num  int64
	list []bvalue
	keys []string // of a dictionary; list holds the values
}

// get is the value under key; the zero bvalue when there is none.
func (v *bvalue) get(key string) *bvalue {
	for i := range v.keys {
		if v.keys[i] == key {
			return &v.list[i]
		}
	}
	return &bvalue{}
}

// plain turns the value into string, int64, []any or map[string]any.
func (v *bvalue) plain() any {
	switch v.kind {
	case 's':
		return v.str
	case 'i':
		return v.num
	case 'l':
		out := make([]any, len(v.list))
		for i := range v.list {
			out[i] = v.list[i].plain()
		}
		return out
	case 'd':
		out := make(map[string]any, len(v.list))
		for i, k := range v.keys {
			out[k] = v.list[i].plain()
		}
		return out
	}
	return nil
}

// decodeBencode reads exactly one value.
func decodeBencode(s string) (bvalue, error) {
	d := bdecoder{s: s}
	v, ok := d.value(0)
	if !ok || d.at != len(s) {
		return bvalue{}, errBencode
	}
	return v, nil
}

type bdecoder struct {
	s     string
	at    int
	items int
}

func (d *bdecoder) value(depth int) (bvalue, bool) {
	if d.items++; d.items > bencodeItems || depth > bencodeDepth || d.at >= len(d.s) {
		return bvalue{}, false
	}
	switch c := d.s[d.at]; {
	case c >= '0' && c <= '9':
		s, ok := d.text()
		return bvalue{kind: 's', str: s}, ok
	case c == 'i':
		d.at++
		n, ok := d.number('e')
		return bvalue{kind: 'i', num: n}, ok
	case c == 'l':
		d.at++
		return d.many(depth, false)
	case c == 'd':
		d.at++
		return d.many(depth, true)
	}
	return bvalue{}, false
}

func (d *bdecoder) many(depth int, dict bool) (bvalue, bool) {
	v := bvalue{kind: 'l'}
	if dict {
		v.kind = 'd'
	}
	for d.at < len(d.s) {
		if d.s[d.at] == 'e' {
			d.at++
			return v, true
		}
		if dict {
			key, ok := d.text()
			if !ok {
				return v, false
			}
			v.keys = append(v.keys, key)
		}
		x, ok := d.value(depth + 1)
		if !ok {
			return v, false
		}
		v.list = append(v.list, x)
	}
	return v, false
}

func (d *bdecoder) text() (string, bool) {
	n, ok := d.number(':')
	if !ok || n < 0 || n > int64(len(d.s)-d.at) {
		return "", false
	}
	s := d.s[d.at : d.at+int(n)]
	d.at += int(n)
	return s, true
}

// number reads up to end and steps over it.
func (d *bdecoder) number(end byte) (int64, bool) {
	from := d.at
	for d.at < len(d.s) && d.at-from <= 20 {
		if d.s[d.at] == end {
			n, err := strconv.ParseInt(d.s[from:d.at], 10, 64)
			d.at++
			return n, err == nil
		}
		d.at++
	}
	return 0, false
}

// bdict writes a dictionary, key by key. Empty values are left out.
type bdict struct{ b []byte }

func newBdict(command string) *bdict {
	d := &bdict{b: append(make([]byte, 0, 1024), 'd')}
	d.text("command", command)
	return d
}

func (d *bdict) put(s string) {
	d.b = strconv.AppendInt(d.b, int64(len(s)), 10)
	d.b = append(append(d.b, ':'), s...)
}

func (d *bdict) text(key, value string) {
	if value != "" {
		d.put(key)
		d.put(value)
	}
}

func (d *bdict) number(key string, value int) {
	d.put(key)
	d.b = append(strconv.AppendInt(append(d.b, 'i'), int64(value), 10), 'e')
}

func (d *bdict) texts(key string, values []string) {
	if len(values) == 0 {
		return
	}
	d.put(key)
	d.b = append(d.b, 'l')
	for _, v := range values {
		d.put(v)
	}
	d.b = append(d.b, 'e')
}

func (d *bdict) open(key string) { d.put(key); d.b = append(d.b, 'd') }
func (d *bdict) close()          { d.b = append(d.b, 'e') }

func (d *bdict) String() string { return string(d.b) + "e" }

// copyBencode reads one value from a stream and appends its bytes to dst, up to limit bytes in all.
func copyBencode(r *bufio.Reader, dst []byte, limit int) ([]byte, error) {
	for depth := 0; ; {
		c, err := r.ReadByte()
		if err != nil {
			return dst, err
		}
		dst = append(dst, c)
		switch {
		case c == 'l' || c == 'd':
			if depth++; depth > bencodeDepth {
				return dst, errBencode
			}
		case c == 'e':
			depth--
		case c == 'i':
			if dst, err = copyUntil(r, dst, 'e'); err != nil {
				return dst, err
			}
		case c >= '0' && c <= '9':
			if dst, err = copyText(r, dst, limit); err != nil {
				return dst, err
			}
		default:
			return dst, errBencode
		}
		if depth < 0 || len(dst) > limit {
			return dst, errBencode
		}
		if depth == 0 {
			return dst, nil
		}
	}
}

func copyUntil(r *bufio.Reader, dst []byte, end byte) ([]byte, error) {
	for range 24 {
		c, err := r.ReadByte()
		if err != nil {
			return dst, err
		}
		dst = append(dst, c)
		if c == end {
			return dst, nil
		}
	}
	return dst, errBencode
}

// copyText copies a string whose first length digit is dst's last byte.
func copyText(r *bufio.Reader, dst []byte, limit int) ([]byte, error) {
	from := len(dst) - 1
	dst, err := copyUntil(r, dst, ':')
	if err != nil {
		return dst, err
	}
	n, err := strconv.Atoi(string(dst[from : len(dst)-1]))
	if err != nil || n < 0 || n > limit-len(dst) {
		return dst, errBencode
	}
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	for at < len(dst) {
		k, err := r.Read(dst[at:])
		if err != nil {
			return dst, err
		}
		at += k
	}
	return dst, nil
}
