package sipproxy

import (
	"crypto/subtle"
	"encoding/binary"
)

// Sign returns a signature over parts, eleven characters of the URL-safe base64 alphabet, with the current key of Keys. purpose keeps the signatures of different
// uses apart. Before Ready it is empty. It is SipHash-2-4 of the length-prefixed parts: 64 bits under a key derived from the one of Keys.
func (s *Server) Sign(purpose string, parts ...string) string {
	if len(s.signKeys) == 0 {
		return ""
	}
	sig := s.signKeys[0].sign(purpose, parts)
	return string(sig[:])
}

// Verify reports whether sig is what Sign gives with one of Keys.
func (s *Server) Verify(sig, purpose string, parts ...string) bool {
	for _, k := range s.signKeys {
		want := k.sign(purpose, parts)
		if subtle.ConstantTimeCompare(want[:], []byte(sig)) == 1 {
			return true
		}
	}
	return false
}

func (k sipKey) sign(purpose string, parts []string) (sig [11]byte) {
	var buf [192]byte // on a stack that may be held while a call rings
	b := putSized(buf[:0], purpose)
	for _, p := range parts {
		b = putSized(b, p)
	}
	sum := k.sum(b)
	for i := range sig { // base64.RawURLEncoding, the highest bits first
		sig[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[sum>>58]
		sum <<= 6
	}
	return sig
}

func putSized(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
