package auth

import (
	"crypto/subtle"

	"github.com/sipkit/sipkit/sip"
)

// digest appends the binary request-digest (RFC 7616 §3.4.1).
func (c *credentials) compute(b []byte, ha1 string, method sip.Method, body string) []byte {
	var text [512]byte
	var keep [3 * 2 * sumSize]byte
	h := c.hash
	t := text[:0]

	key := append(keep[:0], ha1...) // H(A1), §3.4.2
	if c.session {
		t = join(t[:0], ha1, c.nonce, c.cnonce)
		key = h.hexSum(keep[:0], t)
	}

	t = join(t[:0], string(method), c.uri) // A2, §3.4.3
	if c.method == QOPInt {
		var sum [2 * sumSize]byte
		t = append(t, ':')
		t = append(t, h.hexSum(sum[:0], []byte(body))...)
	}
	var sum [2 * sumSize]byte
	ha2 := h.hexSum(sum[:0], t)

	t = append(t[:0], key...)
	t = append(t, ':')
	t = append(t, c.nonce...)
	if c.method != QOPNone {
		t = append(t, ':')
		t = join(t, c.nc, c.cnonce, c.qop)
	}
	t = append(t, ':')
	t = append(t, ha2...)
	return h.sum(b, t)
}

func join(b []byte, parts ...string) []byte {
	for i, p := range parts {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, p...)
	}
	return b
}

// matches compares the response in the credentials with what a holder of ha1 sends, in constant time.
func (c *credentials) matches(ha1 string, r *sip.Request) bool {
	var want [sumSize]byte
	body := ""
	if c.method == QOPInt {
		body = r.Body()
	}
	w := c.compute(want[:0], ha1, r.Method, body)
	return c.size == len(w) && subtle.ConstantTimeCompare(w, c.digest[:c.size]) == 1
}
