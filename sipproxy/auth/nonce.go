package auth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/sipkit/sipkit/sipproxy"
)

// A nonce is signed with Server.Keys and so needs no memory, survives a restart and is good on every node with the same keys:
//
//	base64url( issued, nanoseconds: 8 bytes | random: 4 | origin: 4 ) signature
//
// origin stands for the address the challenge was sent to. A client may answer from another one; guesses count against the first.
type nonce struct {
	issued int64
	random uint32
	origin uint32
}

const (
	nonceBytes = 16
	nonceText  = 22 // of base64
	sigText    = 11
)

const purpose = "digest-nonce"

func newNonce(s *sipproxy.Server, realm string, origin uint32, now time.Time) string {
	var b [nonceBytes]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixNano()))
	rand.Read(b[8:12])
	binary.BigEndian.PutUint32(b[12:], origin)
	text := base64.RawURLEncoding.EncodeToString(b[:])
	return text + s.Sign(purpose, realm, text)
}

// parseNonce reads a nonce of ours; false when it is not.
func parseNonce(s *sipproxy.Server, realm, text string) (n nonce, ok bool) {
	if len(text) != nonceText+sigText || !s.Verify(text[nonceText:], purpose, realm, text[:nonceText]) {
		return nonce{}, false
	}
	var b [nonceBytes]byte
	if _, err := base64.RawURLEncoding.Decode(b[:], []byte(text[:nonceText])); err != nil {
		return nonce{}, false
	}
	return nonce{
		issued: int64(binary.BigEndian.Uint64(b[:])),
		random: binary.BigEndian.Uint32(b[8:]),
		origin: binary.BigEndian.Uint32(b[12:]),
	}, true
}

// skew is how far the clock of another node may be ahead.
const skew = 10 * time.Second

func (n nonce) expired(now time.Time, life time.Duration) bool {
	age := now.Sub(time.Unix(0, n.issued))
	return age > life || age < -skew
}
