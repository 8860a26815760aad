package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"
)

// Algorithms is a set of digest algorithms (RFC 7616 §3.3, RFC 8760).
type Algorithms uint8

// The algorithms, weakest first. RFC 8760 §2.3 keeps MD5 for the phones that know nothing else.
const (
	MD5 Algorithms = 1 << iota
	SHA256
	SHA512256 // SHA-512/256, "SHA-512-256" in header fields

	allAlgorithms = MD5 | SHA256 | SHA512256
)

// strongestFirst is the order of challenges (RFC 8760 §2.4).
var strongestFirst = [...]Algorithms{SHA512256, SHA256, MD5}

// String gives the names as header fields spell them, strongest first, separated by commas.
func (a Algorithms) String() string {
	var names []string
	for _, one := range strongestFirst {
		if a&one != 0 {
			names = append(names, one.name())
		}
	}
	return strings.Join(names, ",")
}

func (a Algorithms) name() string {
	switch a {
	case SHA512256:
		return "SHA-512-256"
	case SHA256:
		return "SHA-256"
	}
	return "MD5"
}

const sessionSuffix = "-sess"

// parseAlgorithm reads the algorithm parameter; absent means MD5 (RFC 7616 §3.3).
func parseAlgorithm(s string) (a Algorithms, session, ok bool) {
	if n := len(s) - len(sessionSuffix); n > 0 && strings.EqualFold(s[n:], sessionSuffix) {
		s, session = s[:n], true
	}
	if s == "" {
		return MD5, false, true
	}
	for _, one := range strongestFirst {
		if strings.EqualFold(s, one.name()) {
			return one, session, true
		}
	}
	return 0, false, false
}

// sumSize is the length of the longest digest.
const sumSize = 32

// sum appends the digest of text.
func (a Algorithms) sum(b, text []byte) []byte {
	switch a {
	case SHA512256:
		s := sha512.Sum512_256(text)
		return append(b, s[:]...)
	case SHA256:
		s := sha256.Sum256(text)
		return append(b, s[:]...)
	}
	s := md5.Sum(text)
	return append(b, s[:]...)
}

// hexSum appends the digest of text in lower-case hexadecimal: H() of RFC 7616 §3.1.
func (a Algorithms) hexSum(b, text []byte) []byte {
	var s [sumSize]byte
	return hex.AppendEncode(b, a.sum(s[:0], text))
}

// hexLen is the length of H().
func (a Algorithms) hexLen() int {
	if a == MD5 {
		return 32
	}
	return 64
}
