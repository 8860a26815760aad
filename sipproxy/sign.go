package sipproxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
)

// Sign returns a signature over parts, eleven characters of the URL-safe base64 alphabet, with the current key of Keys. purpose keeps the signatures of different
// uses apart. Before Ready it is empty. It is made of the first 64 bits of SHA-256 over key and length-prefixed parts: what is cut off rules out extension.
func (s *Server) Sign(purpose string, parts ...string) string {
	if len(s.keys) == 0 {
		return ""
	}
	return sign(s.keys[0], purpose, parts)
}

// Verify reports whether sig is what Sign gives with one of Keys.
func (s *Server) Verify(sig, purpose string, parts ...string) bool {
	for _, k := range s.keys {
		if subtle.ConstantTimeCompare([]byte(sign(k, purpose, parts)), []byte(sig)) == 1 {
			return true
		}
	}
	return false
}

func sign(key []byte, purpose string, parts []string) string {
	var buf [512]byte
	b := append(buf[:0], key...)
	b = append(b, purpose...)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	var out [11]byte
	base64.RawURLEncoding.Encode(out[:], sum[:8])
	return string(out[:])
}
